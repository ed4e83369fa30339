"""Checkpoints that are whole or not there, and the random state in them."""

import logging
import shutil
import time
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.distributed as dist
from speechbrain.utils.checkpoints import (
    Checkpoint,
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from torch import nn

from custom_modules.checksums import find_damage, write_checksums
from custom_modules.distributed import (
    is_distributed,
    num_processes,
    process_rank,
)

logger = logging.getLogger(__name__)

PARTIAL = "partial-"
CHECKPOINTS = "CKPT+*"
# In what torch raises where the system cannot write, beside OSError.
TORCH_WRITES = ("inline_container", "iostream", "PytorchStreamWriter")


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's checkpointer, writing to a temporary name first.

    SpeechBrain writes a checkpoint's `CKPT.yaml` before anything else, so a
    folder left by an interrupted save looks complete. Here a folder gets its
    name when all of it is written, with checksums, by which a damaged one is
    passed over for the one before it. The last is the one saved last, even
    where the clock was set back in between.

    Arguments
    ---------
    *args, **kwargs
        Of SpeechBrain's `Checkpointer`.

    Example
    -------
    >>> layer = nn.Linear(2, 2)
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = AtomicCheckpointer(folder, {"layer": layer})
    >>> checkpoint = checkpointer.save_checkpoint()
    >>> [path.name[:5] for path in folder.iterdir()]
    ['CKPT+']
    >>> checkpointer.recover_if_possible().path == checkpoint.path
    True
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._damage: dict[Path, str | None] = {}  # of each that was looked at

    def _new_checkpoint_dirpath(self) -> Path:
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PARTIAL + path.name)

    def _custom_checkpoint_dirpath(self, name: str) -> Path:
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(PARTIAL + path.name)

    def save_checkpoint(
        self,
        meta: dict | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> Checkpoint | None:
        """Save as SpeechBrain does, then give the folder its name.

        Raises
        ------
        OSError
            Where it cannot be written; the checkpoints before it are kept.
        """
        if if_main_process():
            self._remove_partial()
        earlier = [c.meta["unixtime"] for c in self.list_checkpoints()]
        now = max([time.time(), *(seconds + 1e-3 for seconds in earlier)])
        try:
            unnamed = super().save_checkpoint(
                {"unixtime": now, **(meta or {})},
                end_of_epoch,
                name,
                verbosity=logging.DEBUG,
            )
            if unnamed is not None:  # the main process
                write_checksums(unnamed.path)
        except (OSError, RuntimeError) as error:
            if not if_main_process():
                raise
            self._remove_partial()
            is_of_writing = any(word in str(error) for word in TORCH_WRITES)
            if isinstance(error, RuntimeError) and not is_of_writing:
                raise
            raise OSError(
                f"{self.checkpoints_dir}: a checkpoint cannot be written "
                f"({' '.join(str(error).split())[:200]}): make room, then go "
                "on from the one before with the same command"
            ) from error
        checkpoint = None
        if unnamed is not None:
            checkpoint = self._give_name(unnamed)
            logger.log(verbosity, f"Saved a checkpoint in {checkpoint.path}")
        ddp_barrier()  # what lies there is the same to all processes
        for path in self.checkpoints_dir.glob(CHECKPOINTS):
            self._damage.setdefault(path, None)  # written just now
        return checkpoint

    def _remove_partial(self) -> None:
        for leftover in self.checkpoints_dir.glob(PARTIAL + "*"):
            shutil.rmtree(leftover)

    def list_checkpoints(self) -> list[Checkpoint]:
        """All that are whole; of each other one, a warning says why not.

        Raises
        ------
        ValueError
            Where none is whole.
        """
        whole = []
        damaged = {}
        for path in sorted(self.checkpoints_dir.glob(CHECKPOINTS)):
            if path not in self._damage:
                self._damage[path] = find_damage(path)
                if self._damage[path]:
                    logger.warning(
                        f"{path} is damaged ({self._damage[path]}) and passed "
                        "over for the checkpoint before it: delete it"
                    )
            if self._damage[path]:
                damaged[path] = self._damage[path]
            else:
                whole.append(path)
        self._damage = dict.fromkeys(whole) | damaged  # deleted ones are not
        if damaged and not whole:
            path, damage = damaged.popitem()
            raise ValueError(
                f"{path} is damaged ({damage}) and there is no whole "
                "checkpoint beside it: copy one there, or delete it to start "
                "anew"
            )
        return self._construct_checkpoint_objects(whole)

    def _give_name(self, unnamed: Checkpoint) -> Checkpoint:
        path = unnamed.path.with_name(unnamed.path.name.removeprefix(PARTIAL))
        if path.exists():  # SpeechBrain overwrites a name given twice
            shutil.rmtree(path)
        unnamed.path.rename(path)
        self._damage[path] = None
        paramfiles = {
            key: path / file.name for key, file in unnamed.paramfiles.items()
        }
        return Checkpoint(path, unnamed.meta, paramfiles)

    def check_modules(self) -> None:
        """Compare the last checkpoint's parameters with the modules.

        Before a training touches anything: names and shapes of all
        recoverables that are modules.

        Raises
        ------
        ValueError
            Where the checkpoint belongs to another architecture.
        """
        checkpoint = self.find_checkpoint()
        if checkpoint is None:
            return
        for name, module in self.recoverables.items():
            if not isinstance(module, nn.Module):
                continue
            if name not in checkpoint.paramfiles:
                raise ValueError(
                    f"{checkpoint.path} has no {name}: use the settings it "
                    "was trained with, or another output_folder"
                )
            path = checkpoint.paramfiles[name]
            saved = torch.load(path, map_location="meta", weights_only=True)
            shapes = {key: value.shape for key, value in saved.items()}
            expected = {k: v.shape for k, v in module.state_dict().items()}
            keys = shapes.keys() | expected.keys()
            wrong = [k for k in keys if shapes.get(k) != expected.get(k)]
            if wrong:
                key = min(wrong)
                raise ValueError(
                    f"{path} is of another architecture: {len(wrong)} "
                    f"parameters differ, {key} is {shapes.get(key)} there and "
                    f"{expected.get(key)} here. Use the settings it was "
                    "trained with, or another output_folder"
                )

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load, or say which checkpoint does not fit and what to do.

        Arguments
        ---------
        checkpoint : Checkpoint
            The checkpoint.

        Raises
        ------
        ValueError
            Where the checkpoint belongs to another architecture.
        """
        try:
            super().load_checkpoint(checkpoint)
        # KeyError: no such file; UnpicklingError: it would run code.
        except (RuntimeError, KeyError, UnpicklingError) as error:
            reason = f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())[:300]
            raise ValueError(
                f"{checkpoint.path} does not fit this model ({reason}): use "
                "the settings it was trained with, or another output_folder"
            ) from error


@partial(register_checkpoint_hooks, save_on_main_only=False)
class RandomState:
    """torch's random state as a recoverable: what is left to chance here.

    Crops and augmentation are functions of seed, epoch and utterance; dropout
    draws from torch's generators, which each process has its own of.

    Example
    -------
    >>> state, path = RandomState(), getfixture("tmp_path") / "state"
    >>> state.save(path)
    >>> first = torch.rand(3)
    >>> state.load(path, end_of_epoch=True)
    >>> bool((torch.rand(3) == first).all())
    True
    """

    @mark_as_saver
    def save(self, path: str) -> None:
        """Write every process's state: of the CPU's and its GPU's generator."""
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state()
        states = [state]
        if is_distributed():
            states *= num_processes()
            dist.all_gather_object(states, state)
        if process_rank() == 0:
            torch.save({"processes": states}, path)

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool) -> None:
        """Restore this process's state, where as many go on as saved."""
        del end_of_epoch  # the same within an epoch and at its end
        content = torch.load(path, map_location="cpu", weights_only=True)
        states = content["processes"]
        if len(states) != num_processes():
            logger.warning(
                f"{len(states)} processes were training, {num_processes()} "
                "go on: dropout will differ"
            )
            return
        state = states[process_rank()]
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])


def load_strictly(module: nn.Module, path: str) -> None:
    """Load parameters for inference, all of them or none.

    A hook for SpeechBrain's `Pretrainer`, whose own only warns where names do
    not match.

    Arguments
    ---------
    module : nn.Module
        The model.
    path : str
        A state dict written by `torch.save`; nothing else is unpickled.

    Raises
    ------
    ValueError
        Where the file is no state dict or that of another architecture.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.ckpt"
    >>> torch.save(nn.Linear(2, 3).state_dict(), path)
    >>> load_strictly(nn.Linear(2, 3), path)
    >>> load_strictly(nn.Linear(2, 4), path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...model.ckpt does not fit the model that ...
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{path} does not fit the model that the YAML file beside it "
            f"describes ({reason}): copy both from one training"
        ) from error
