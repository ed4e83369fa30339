"""Several processes, started by torchrun: one of them prepares and writes."""

import dataclasses
import gc
import logging
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from speechbrain.utils.distributed import (
    MainProcessContext,
    ddp_init_group,
    infer_device,
)
from speechbrain.utils.run_opts import RunOptions

from custom_modules.distributed import (
    is_distributed,
    num_processes,
    process_rank,
)

Result = TypeVar("Result")
Item = TypeVar("Item")


class MainProcessError(ValueError):
    """The main process failed, and says so itself: the others end with it."""


@contextmanager
def process_group(run_opts: RunOptions):
    """Join the processes that torchrun started; a plain one stays alone.

    NCCL joins GPUs, gloo where there are none, unless
    `--distributed_backend` was typed.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's options.

    Yields
    ------
    run_opts : RunOptions
        The same, with the backend.
    """
    device = run_opts.device or infer_device()
    if "distributed_backend" not in run_opts.overridden_args:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        run_opts = dataclasses.replace(
            run_opts,
            distributed_backend=backend,
            # Brain takes what was typed, before what stands in YAML.
            overridden_args={*run_opts.overridden_args, "distributed_backend"},
        )
    ddp_init_group(run_opts)
    if process_rank() > 0:  # what all would say, the main process says
        logging.getLogger().setLevel(logging.ERROR)
    yield run_opts
    if is_distributed():  # not after an error, for which others may wait
        # DistributedDataParallel, in cycles, keeps the group alive, and its
        # threads abort the process if they run when Python ends.
        gc.collect()
        dist.barrier()
        dist.destroy_process_group()


def run_on_main(function: Callable[..., Result], *args, **kwargs) -> Result:
    """Call a function in the main process, and wait for it in the others.

    SpeechBrain's own leaves the others waiting where the main process fails.

    Arguments
    ---------
    function : Callable
        What to call; its result can be pickled.

    Returns
    -------
    result : Result
        In all processes.

    Raises
    ------
    Exception
        The function's own, in the main process.
    MainProcessError
        In the others, if it failed.

    Example
    -------
    >>> run_on_main(max, 3, 4)
    4
    """
    if not is_distributed():
        return function(*args, **kwargs)
    outcome = [None, None]  # result, error
    error = None
    if process_rank() == 0:
        try:
            with MainProcessContext():
                outcome[0] = function(*args, **kwargs)
        except Exception as caught:
            error = caught
            outcome[1] = f"{type(caught).__name__}: {caught}"
    dist.broadcast_object_list(outcome, src=0)
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise MainProcessError(outcome[1])
    return outcome[0]


def gather_from_all(items: dict) -> dict:
    """The entries of all processes' dictionaries, in each of them.

    Example
    -------
    >>> gather_from_all({"utterance": 1})
    {'utterance': 1}
    """
    if not is_distributed():
        return items
    parts: list[dict] = [{} for _ in range(num_processes())]
    dist.all_gather_object(parts, items)
    return {key: value for part in parts for key, value in part.items()}


def own_share(items: Iterable[Item]) -> list[Item]:
    """This process's items, such as batches, dealt in turn.

    Example
    -------
    >>> own_share([[0, 1], [2]])
    [[0, 1], [2]]
    """
    return list(items)[process_rank() :: num_processes()]


def seed_process(seed: int) -> None:
    """Give each process but the first a random state of its own.

    All were seeded alike, for the same first weights; dropout is to differ.

    Arguments
    ---------
    seed : int
        Of the training.
    """
    rank = process_rank()
    if rank > 0:
        generator = torch.Generator().manual_seed(seed)
        seeds = torch.randint(2**62, (num_processes(),), generator=generator)
        torch.manual_seed(int(seeds[rank]))
