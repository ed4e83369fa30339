"""Loading: crops by seeking, from packed files, and by the loader's workers."""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from audio_files import find_audio
from command import run
from dataio import TrainingDataset, make_train_loader, random_crop
from manifest import Manifest
from pack import pack_folder

from benchmarks.generated import RATE, write_corpus, write_noises, write_rirs
from benchmarks.measurement import (
    Row,
    Target,
    ratio,
    run_alone,
    stage_parser,
    time_alternately,
    write_stage,
)
from custom_modules.augmentation import AugmentationSource
from custom_modules.samplers import ShuffledBatchSampler

SEED = 1986


def write_manifest(folder: Path, seconds: float) -> Path:
    """Manifest of a generated corpus."""
    rows = ["ID,duration,wav,spk_id"]
    for path in sorted((folder / "wav").rglob("*.wav")):
        utt_id = path.relative_to(folder / "wav").with_suffix("").as_posix()
        wav = path.relative_to(folder).as_posix()
        speaker = utt_id.split("/")[0]
        rows.append(f"{utt_id},{seconds},$data_root/{wav},{speaker}")
    manifest = folder / "train.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


def read_crops(folder: Path, seconds: float, crop: float) -> None:
    """A random crop of every WAV, in random order; plain or packed folder."""
    rng = np.random.default_rng(0)
    paths = find_audio(folder / "wav")
    for index in rng.permutation(len(paths)):
        random_crop(paths[index], seconds, round(crop * RATE), RATE, rng)


def read_whole(folder: Path, seconds: float, crop: float) -> None:
    """The same by reading whole files: what most loaders do."""
    rng = np.random.default_rng(0)
    paths, size = find_audio(folder / "wav"), round(crop * RATE)
    for index in rng.permutation(len(paths)):
        samples, _ = soundfile.read(paths[index], dtype="float32")
        start = rng.integers(round(seconds * RATE) - size)
        torch.from_numpy(samples[start : start + size].copy())


def crops_of_files(args: argparse.Namespace, folder: Path) -> list[Row]:
    """One thread's crops: whole files, by seeking, packed; cached, cold."""
    packed = folder.with_name("corpus.packed")
    pack_folder(folder, packed)
    sizes = args.seconds, args.crop
    cold = {"seek": [], "packed": []}
    for _ in range(args.repeats):  # first: a map would keep its file cached
        for name, source in (("seek", folder), ("packed", packed)):
            forget(source)
            alone = run_alone(
                "benchmarks.loading",
                f"--alone={source}",
                f"--seconds={args.seconds}",
                f"--crop={args.crop}",
            )
            cold[name].append(alone["seconds"])
    cached = time_alternately(
        {
            "whole": lambda: read_whole(folder, *sizes),
            "seek": lambda: read_crops(folder, *sizes),
            "packed": lambda: read_crops(packed, *sizes),
        },
        args.repeats,
    )
    what = f"{args.crop:g}-s crops of {args.seconds:g}-s WAVs"
    labels = {
        "whole": f"{what}, whole files read",
        "seek": f"{what}, by seeking",
        "packed": f"{what}, packed",
    }
    return [
        Row(
            labels[name], times, args.num_files, "crops", f"{state}, one thread"
        )
        for state, timed in (("cached", cached), ("not cached", cold))
        for name, times in timed.items()
    ]


def forget(folder: Path) -> None:
    """Have the kernel forget the files of a folder."""
    for path in folder.rglob("*.*"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loader_epochs(
    dataset: TrainingDataset, args: argparse.Namespace, num_workers: int
) -> list[float]:
    """Seconds of an epoch, after a first one that starts the workers."""
    torch.set_num_threads(1)
    sampler = ShuffledBatchSampler(
        dataset.utterance_labels, args.batch_size, SEED
    )
    loader = make_train_loader(dataset, sampler, num_workers)

    def epoch() -> None:
        for _ in loader:
            pass

    return time_alternately({"epoch": epoch}, args.repeats)["epoch"]


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("loading", __doc__)
    parser.add_argument("--num_files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--crop", type=float, default=3.0)
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="each is tried"
    )
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    if args.alone:
        started = time.perf_counter()
        read_crops(args.alone, args.seconds, args.crop)
        result = {"seconds": time.perf_counter() - started}
        sys.stdout.write(json.dumps(result) + "\n")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "corpus")
        write_corpus(folder, args.num_files, args.seconds)
        noises = write_noises(Path(name, "noise"), 20, 60.0)
        rirs = write_rirs(Path(name, "rir"), 100, 0.5)
        rows = crops_of_files(args, folder)
        manifest = Manifest(write_manifest(folder, args.seconds), folder)
        source = AugmentationSource(noises, rirs, 15, 25, RATE, SEED)
        for augmentation in (None, source):
            dataset = TrainingDataset(
                manifest, args.crop, RATE, SEED, augmentation
            )
            kind = "crops" if augmentation is None else "crops and draws"
            for num_workers in args.workers:
                label = f"{kind} from {num_workers} workers, batches of "
                rows.append(
                    Row(
                        label + str(args.batch_size),
                        loader_epochs(dataset, args, num_workers),
                        len(dataset) // args.batch_size * args.batch_size,
                        "crops",
                        "cached; noises of 60 s, 100 rooms"
                        if augmentation
                        else "cached",
                    )
                )
    torch.set_num_threads(threads)
    whole, seek, packed = rows[:3]
    one = next(row for row in rows if row.what.startswith("crops from 1 "))
    per_second = one.count / one.median
    targets = [
        Target("whole files / seeking", ratio(whole, seek), 2.0),
        Target("whole files / packed", ratio(whole, packed), 2.0),
        Target("one worker", per_second, 2000.0, unit="crops/s"),
    ]
    write_stage("loading", args, "cpu", rows, targets)


if __name__ == "__main__":
    run(main)
