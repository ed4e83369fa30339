#!/usr/bin/env python3
"""Average the parameters of a training's last checkpoints.

usage: python average_checkpoints.py hparams/average.yaml [--key=value …]
Example: python average_checkpoints.py hparams/average.yaml --num_averaged=3

Writes a model folder, whose threshold is chosen anew on the training's
development trials. The parameters of the last epochs lie around a better
point than the last: Izmailov et al., https://arxiv.org/abs/1803.05407.
"""

import logging
import shutil
import time
from pathlib import Path

import torch
from command import load_experiment, run
from development import describe_development, measure_development
from evaluation import make_loader
from export import export_model
from extraction import embed_utterances, load_model, score_trials
from folder_use import using
from progress import show_progress
from report import git_commit, machine
from ruamel.yaml import YAML
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.inference.speaker import SpeakerRecognition
from speechbrain.utils.checkpoints import Checkpoint, average_checkpoints
from torch import Tensor
from whole_utterances import choose_batch_seconds, read_manifest

from custom_modules.checkpoints import AtomicCheckpointer
from custom_modules.scoring import read_trials

logger = logging.getLogger(__name__)

LISTS = ("train.csv", "dev.csv", "dev_trials.txt")
KEYS = [
    "seed",
    "data_folder",
    "init_from",
    "output_folder",
    "model_folder",
    "num_averaged",
    "eval_batch_seconds",
    "num_workers",
]


def find_last(folder: Path, num_averaged: int) -> list[Checkpoint]:
    """Find the checkpoints of a training's last epochs, the last first.

    Arguments
    ---------
    folder : Path
        Its `output_folder`.
    num_averaged : int
        How many; at least 1.

    Returns
    -------
    checkpoints : list[Checkpoint]
        Whole ones, each of the end of an epoch.

    Raises
    ------
    ValueError
        Says which epochs are there, where they are not the last so many.
    """
    if num_averaged < 1:
        raise ValueError(f"num_averaged ({num_averaged}) must be at least 1")
    save = folder / "save"
    if not save.is_dir():
        raise ValueError(
            f"init_from: {save.absolute()} is missing: give the output folder "
            "of a training, such as runs/mfcon/1986"
        )
    found = AtomicCheckpointer(save).find_checkpoints(
        ckpt_predicate=lambda c: INTRA_EPOCH_CKPT_FLAG not in c.meta,
        max_num_checkpoints=num_averaged,
    )
    epochs = [checkpoint.meta["epoch"] for checkpoint in found]
    last = max(epochs, default=0)
    if epochs != list(range(last, last - num_averaged, -1)):
        raise ValueError(
            f"{save.absolute()} has no checkpoints of the last {num_averaged} "
            f"epochs ({epochs or 'none'} are there): train with "
            f"--num_checkpoints={num_averaged} at least, or give a smaller "
            "num_averaged"
        )
    return found


def average(checkpoints: list[Checkpoint]) -> dict[str, Tensor]:
    """Average their embedding models by SpeechBrain.

    Batch norm's running means and variances are averaged like parameters:
    as functions of these, they differ from those of the averaged parameters
    by terms of second order alone, for the deviations of the first add up to
    nothing. Integers (batches counted) are the last checkpoint's.

    Arguments
    ---------
    checkpoints : list[Checkpoint]
        The last first.

    Returns
    -------
    state : dict[str, Tensor]
        On the CPU.
    """

    def load(path: Path, map_location: str) -> dict[str, Tensor]:
        return torch.load(path, map_location=map_location, weights_only=True)

    name = "embedding_model"
    mean = average_checkpoints(checkpoints, name, load)
    last = load(checkpoints[0].paramfiles[name], "cpu")
    return {
        key: mean[key] if value.is_floating_point() else value
        for key, value in last.items()
    }


def measure(folder: Path, model: SpeakerRecognition, hparams: dict) -> dict:
    """Error rates and thresholds on the development trials, chosen anew.

    Arguments
    ---------
    folder : Path
        The training's `output_folder`; without development speakers, all
        are None.
    model : SpeakerRecognition
        With the averaged parameters.
    hparams : dict
        data_folder, eval_batch_seconds, num_workers and seed.

    Returns
    -------
    described : dict
        Of `describe_development`.
    """
    manifest = folder / "save" / "dev.csv"
    if not manifest.is_file():
        return describe_development({}, None, None, hparams["seed"])
    utterances, _ = read_manifest(manifest, hparams["data_folder"])
    try:
        loader = make_loader(
            utterances,
            f"files of {manifest}",
            model.hparams.sample_rate,
            choose_batch_seconds(hparams["eval_batch_seconds"], model.device),
            hparams["num_workers"],
        )
    except ValueError as error:
        raise ValueError(
            f"{error}\nor give the data_folder of the training"
        ) from error
    progress = show_progress(loader, "Development", "batch")
    trials = read_trials(folder / "save" / "dev_trials.txt")
    embeddings = embed_utterances(progress, model.mods, model.device)
    scores = score_trials(trials, embeddings)
    measured = measure_development(scores, trials.is_target)
    return describe_development(measured, scores, trials, hparams["seed"])


def main(argv: list[str]) -> None:
    """Find, average, choose the threshold, export."""
    started = time.monotonic()
    _, run_opts, overrides, hparams = load_experiment(argv, KEYS, __doc__)
    if str(hparams["init_from"]).endswith("/"):
        raise ValueError(
            f"init_from ({hparams['init_from']}): leave the slash at its end "
            "out, for the output folder is named by it"
        )
    folder = Path(hparams["init_from"])
    checkpoints = find_last(folder, hparams["num_averaged"])
    yaml_file = "hyperparams.yaml"
    model, training = load_model(folder / "model", yaml_file, run_opts)
    text = (folder / "model" / yaml_file).read_text("utf-8")
    embedding_model = model.mods["embedding_model"]
    embedding_model.load_state_dict(average(checkpoints))
    development = measure(folder, model, hparams)
    epochs = sorted(checkpoint.meta["epoch"] for checkpoint in checkpoints)
    with using(Path(hparams["output_folder"]), "training.lock"):
        export_model(
            YAML().load(text),
            embedding_model,
            {
                **training,
                "epoch": epochs[-1],
                "averaged_epochs": epochs,
                "averaging": overrides,
                **development,
                "minutes": round((time.monotonic() - started) / 60, 2),
                "machine": machine(model.device),
                "commit": git_commit(),
            },
            hparams["model_folder"],
        )
    save = Path(hparams["output_folder"]) / "save"
    save.mkdir(exist_ok=True)
    for path in map((folder / "save").joinpath, LISTS):
        if path.is_file():  # for PLDA, cohort and calibration
            shutil.copy(path, save)
    before, eer = training["dev_eer"], development["dev_eer"]
    rates = (
        ""
        if eer is None or before is None
        else f"; development EER {100 * eer:.2f} % (best epoch: "
        f"{100 * before:.2f} %)"
    )
    logger.info(
        f"The mean of epochs {epochs[0]} to {epochs[-1]} is in "
        f"{hparams['model_folder']}{rates}. Verify with: python verify.py "
        f"hparams/verify.yaml --model_folder={hparams['model_folder']}"
    )


if __name__ == "__main__":
    run(main)
