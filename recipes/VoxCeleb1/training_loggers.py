"""Where a training is logged beside train_log.txt: TensorBoard, W&B.

Each opens its own logger of SpeechBrain's when it is asked to start: a YAML
file may name both, and only the one that is chosen needs its package.
"""

import secrets
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path

import torch
from speechbrain.utils.train_logger import (
    FileTrainLogger,
    TensorboardLogger,
    WandBLogger,
)
from torch import Tensor

from custom_modules.scoring import speaker_id

Stats = dict[str, float]


class MoreLogger(ABC):
    """A logger of epochs, used by the main process alone.

    Arguments
    ---------
    folder : str | Path
        Where it writes.
    """

    package: str  # that it needs

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def check(self) -> None:
        """Refuse to train without the package.

        Raises
        ------
        ValueError
            Says what to install.
        """
        if find_spec(self.package) is None:
            raise ValueError(
                f"more_loggers: {self.package} is not installed: pip install "
                f"{self.package}, or leave more_loggers out"
            )

    @abstractmethod
    def start(self) -> None:
        """Open it; a training that is resumed goes on in the same place."""

    @abstractmethod
    def log_stats(
        self, stats_meta: Stats, train_stats: Stats, valid_stats: Stats
    ) -> None:
        """Log an epoch: SpeechBrain's interface; stats_meta has epoch."""

    @abstractmethod
    def log_embeddings(self, embeddings: dict[str, Tensor], epoch: int) -> None:
        """Log the embedding (emb_dim,) of each utterance of the validation."""

    @abstractmethod
    def close(self) -> None:
        """Write all that was logged."""


class TensorboardEpochs(MoreLogger):
    """SpeechBrain's TensorboardLogger, counting by the training's epochs.

    Its own counts what it was given, from 1 again in a resumed training.

    Example
    -------
    >>> logger = TensorboardEpochs(getfixture("tmp_path"))
    >>> logger.start()
    >>> logger.log_stats({"epoch": 3, "lr": 0.1}, {"loss": 2.0}, {"eer": 0.1})
    >>> logger.log_embeddings({"id1/a/1": torch.ones(4)}, epoch=3)
    >>> logger.close()
    >>> (getfixture("tmp_path") / "00003/development/metadata.tsv").read_text()
    'id1\\n'
    """

    package = "tensorboard"

    def start(self) -> None:
        """Open the folder's next file of events."""
        self.logger = TensorboardLogger(str(self.folder))

    def log_stats(
        self, stats_meta: Stats, train_stats: Stats, valid_stats: Stats
    ) -> None:
        """Log an epoch at its own number."""
        earlier = stats_meta["epoch"] - 1
        self.logger.global_step = {
            "meta": earlier,
            "train": dict.fromkeys(train_stats, earlier),
            "valid": dict.fromkeys(valid_stats, earlier),
        }
        self.logger.log_stats(stats_meta, train_stats, valid_stats)
        self.logger.writer.flush()

    def log_embeddings(self, embeddings: dict[str, Tensor], epoch: int) -> None:
        """Give the projector vectors, labelled by their speakers."""
        self.logger.writer.add_embedding(
            torch.stack(list(embeddings.values())),
            metadata=[speaker_id(utt_id) for utt_id in embeddings],
            global_step=epoch,
            tag="development",
        )

    def close(self) -> None:
        """Close the file."""
        self.logger.writer.close()


class WandBEpochs(MoreLogger):
    """SpeechBrain's WandBLogger, of one run for all resumptions.

    Arguments
    ---------
    folder : str | Path
        Where W&B writes, and the run's name is kept.
    project : str
        Of W&B.
    mode : str
        "offline" writes files alone (`wandb sync` uploads them), "online"
        needs `wandb login`, "disabled" does nothing.
    """

    package = "wandb"

    def __init__(self, folder: str | Path, project: str, mode: str):
        super().__init__(folder)
        self.project, self.mode = project, mode
        modes = ("offline", "online", "disabled")
        if mode not in modes:
            raise ValueError(
                f"wandb_mode ({mode!r}) must be one of {', '.join(modes)}"
            )

    def start(self) -> None:
        """Open a run, or the same one again."""
        import wandb  # where it is chosen alone

        self.folder.mkdir(parents=True, exist_ok=True)
        name = self.folder / "run_id.txt"
        if not name.exists():
            name.write_text(secrets.token_hex(4), "utf-8")
        try:
            run = wandb.init(
                project=self.project,
                id=name.read_text("utf-8"),
                resume="allow",
                dir=str(self.folder),
                mode=self.mode,
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"more_loggers: W&B cannot start ({reason}): give "
                "--wandb_mode=offline, or leave more_loggers out"
            ) from error
        self.logger = WandBLogger(lambda: run)

    def log_stats(
        self, stats_meta: Stats, train_stats: Stats, valid_stats: Stats
    ) -> None:
        """Log an epoch at its own number."""
        self.logger.log_stats(stats_meta, train_stats, valid_stats)

    def log_embeddings(self, embeddings: dict[str, Tensor], epoch: int) -> None:
        """Nothing: W&B has no projector of this kind."""

    def close(self) -> None:
        """End the run."""
        self.logger.run.finish()


class EpochLoggers:
    """train_log.txt in any case; others, in the main process, once started.

    Arguments
    ---------
    file_logger : FileTrainLogger
        Of train_log.txt.
    more_loggers : list[MoreLogger]
        The others.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> loggers = EpochLoggers(FileTrainLogger(folder / "train_log.txt"), [])
    >>> loggers.start()
    >>> loggers.log_stats({"epoch": 1}, {"loss": 2.5}, {"eer": 0.5})
    >>> loggers.close(None)
    >>> (folder / "train_log.txt").read_text().strip()
    'epoch: 1 - train loss: 2.50 - valid eer: 5.00e-01'
    """

    def __init__(
        self, file_logger: FileTrainLogger, more_loggers: list[MoreLogger]
    ):
        self.file_logger = file_logger
        self.more_loggers = more_loggers
        self.started: list[MoreLogger] = []

    def start(self) -> None:
        """Open the others."""
        for more in self.more_loggers:
            more.start()
            self.started.append(more)

    def log_stats(
        self, stats_meta: Stats, train_stats: Stats, valid_stats: Stats
    ) -> None:
        """Log an epoch by all."""
        for one in (self.file_logger, *self.started):
            one.log_stats(stats_meta, train_stats, valid_stats)

    def close(self, validated: tuple[dict[str, Tensor], int] | None) -> None:
        """Give the others the last validation's embeddings, and end them."""
        for more in self.started:
            if validated is not None:
                more.log_embeddings(*validated)
            more.close()
