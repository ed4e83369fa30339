"""What each stage costs as the data grow: nothing faster than it must."""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from command import run
from dataio import TrainingDataset
from manifest import Manifest
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.distributed import infer_device
from voxceleb1_prepare import prepare_voxceleb1

from benchmarks.generated import RATE, write_tiny_corpus
from benchmarks.measurement import (
    Row,
    Target,
    peak_memory,
    run_alone,
    stage_parser,
    time_alternately,
    write_stage,
)
from custom_modules.metrics import equal_error_rate, min_dcf
from custom_modules.normalisation import cohort_statistics, s_norm
from custom_modules.samplers import ShuffledBatchSampler
from custom_modules.scoring import cosine_scores

SEED = 1986
SAVED = "save"  # within the corpus: its manifests


def prepare(folder: Path) -> None:
    """Prepare all files, without development speakers."""
    prepare_voxceleb1(folder, folder / SAVED, num_dev_speakers=0)


def load(folder: Path) -> object:
    """Manifest, labels and the first batch's items."""
    manifest = Manifest(folder / SAVED / "train.csv", folder)
    dataset = TrainingDataset(manifest, 3.0, RATE, SEED, None)
    sampler = ShuffledBatchSampler(dataset.utterance_labels, 100, SEED)
    return dataset, next(iter(sampler))


def load_by_speechbrain(folder: Path) -> object:
    """SpeechBrain's dataset of the same manifest."""
    return DynamicItemDataset.from_csv(
        folder / SAVED / "train.csv", replacements={"data_root": folder}
    )


ALONE: dict[str, Callable[[Path], object]] = {
    "prepare": prepare,
    "load": load,
    "load_by_speechbrain": load_by_speechbrain,
}


def run_task(name: str, folder: Path) -> None:
    """Run a task once in this process; print seconds and GB as JSON.

    The memory is what the process grew by, beyond its imports.
    """
    logging.disable(logging.WARNING)
    before, started = peak_memory(), time.perf_counter()
    kept = ALONE[name](folder)
    seconds = time.perf_counter() - started
    result = {"seconds": seconds, "gb": peak_memory() - before}
    del kept
    sys.stdout.write(json.dumps(result) + "\n")


def grow_corpus(sizes: list[int], repeats: int) -> dict[str, list[Row]]:
    """Preparation and loading of corpora of tiny files; rows by task."""
    labels = {
        "prepare": "preparation",
        "load": "manifest, labels, first batch",
        "load_by_speechbrain": "SpeechBrain's dataset of the manifest",
    }
    rows: dict[str, list[Row]] = {name: [] for name in ALONE}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tiny_corpus(folder, size)
            for task in ALONE:
                results = [
                    run_alone("benchmarks.growth", "--alone", task, name)
                    for _ in range(1 if task == "prepare" else repeats)
                ]
                gb = max(result["gb"] for result in results)
                note = f"{gb:.3f} GB, {1e9 * gb / size:.0f} bytes a file"
                rows[task].append(
                    Row(
                        f"{labels[task]}, {size:,} files",
                        [result["seconds"] for result in results],
                        *(size, "files", note),
                    )
                )
    return rows


def grow_trials(sizes: list[int], repeats: int) -> list[Row]:
    """Cosines, adaptive s-norm, EER and minDCF of more and more trials."""
    rng = np.random.default_rng(0)
    embeddings, cohort = torch.randn(4708, 192), torch.randn(20_000, 192)
    rows = []
    for size in sizes:
        enrol, test = rng.integers(len(embeddings), size=(2, size))
        is_target = np.arange(size) % 2 == 0

        def run(enrol=enrol, test=test, is_target=is_target) -> None:
            scores = cosine_scores(embeddings, enrol, test)
            statistics = cohort_statistics(embeddings, cohort, 300)
            scores = s_norm(scores, statistics, enrol, test)
            equal_error_rate(scores, is_target)
            min_dcf(scores, is_target)

        seconds = time_alternately({"run": run}, repeats)["run"]
        what = f"cosines, adaptive s-norm, EER, minDCF, {size:,} trials"
        note = "of 4,708 utterances, 20,000 in the cohort"
        rows.append(Row(what, seconds, size, "trials", note))
    return rows


def grow_step(args: argparse.Namespace) -> list[Row]:
    """Training steps of larger batches, and of longer crops."""
    rows = []
    shapes = [(size, 3.0) for size in args.batch_sizes]
    shapes += [(args.batch_sizes[0], crop) for crop in args.crops]
    for batch_size, crop in shapes:
        result = run_alone(
            "benchmarks.training_step",
            "--alone=ours",
            f"--device={args.device}",
            f"--batch_size={batch_size}",
            f"--crop={crop}",
            f"--steps={args.repeats}",
            f"--sizes={args.sizes}",
        )
        seconds = [sum(part.values()) for part in result["parts"]]
        what = f"training step, {batch_size} + {batch_size} crops"
        note = f"peak {result['gb']:.2f} GB"
        rows.append(
            Row(
                f"{what} of {crop:g} s",
                *(seconds, 2 * batch_size, "utterances", note),
            )
        )
    return rows


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("growth", __doc__)
    parser.add_argument(
        "--num_files", type=int, nargs="+", default=[10_000, 148_642, 1_200_000]
    )
    parser.add_argument(
        "--num_trials", type=int, nargs="+", default=[37_720, 581_480]
    )
    on_gpu = infer_device() != "cpu"
    parser.add_argument(
        "--batch_sizes",
        type=int,
        nargs="+",
        default=[25, 50, 100, 200] if on_gpu else [2, 4, 8],
    )
    parser.add_argument("--crops", type=float, nargs="+", default=[2.0, 6.0])
    parser.add_argument("--device", default=infer_device())
    parser.add_argument(
        "--sizes", default="{}", help="overrides of mfcon.yaml, as JSON"
    )
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    parser.set_defaults(repeats=3)
    args = parser.parse_args(argv)
    if args.alone:
        run_task(args.alone[0], Path(args.alone[1]))
        return
    corpora = grow_corpus(args.num_files, args.repeats)
    trials = grow_trials(args.num_trials, args.repeats)
    rows = [row for grown in corpora.values() for row in grown]
    rows += trials + grow_step(args)
    targets = []
    for name in ("prepare", "load"):
        _, middle, largest = corpora[name][-3:]
        cost = (largest.median / largest.count) / (middle.median / middle.count)
        label = f"{name}: a file of {largest.count:,} / of {middle.count:,}"
        targets.append(Target(label, cost, 1.5, False))
    write_stage("growth", args, args.device, rows, targets)


if __name__ == "__main__":
    run(main)
