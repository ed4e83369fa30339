"""Run a function on several ranks, each a process of its own, over gloo."""

import gc

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _main(rank, function, num_ranks, folder, arguments):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=num_ranks,
    )
    torch.save(function(*arguments), f"{folder}/{rank}")
    gc.collect()  # see `processes.process_group`
    dist.barrier()
    dist.destroy_process_group()


def run_on_ranks(function, num_ranks, folder, *arguments):
    """What a function, of a module, returns on each rank."""
    folder.mkdir()
    mp.spawn(_main, (function, num_ranks, str(folder), arguments), num_ranks)
    return [torch.load(folder / str(rank)) for rank in range(num_ranks)]
