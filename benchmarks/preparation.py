"""Preparation: headers against decoding every file, and VoxCeleb1's number."""

import argparse
import csv
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

from audio_files import find_audio
from command import run
from speechbrain.dataio import audio_io
from voxceleb1_prepare import prepare_voxceleb1

from benchmarks.generated import write_corpus, write_tiny_corpus
from benchmarks.measurement import (
    Row,
    Target,
    peak_memory,
    ratio,
    run_alone,
    stage_parser,
    time_alternately,
    write_stage,
)


def decode_all(folder: Path, manifest: Path) -> None:
    """Read every file whole to learn its length, as SpeechBrain's recipe."""
    with open(manifest, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "duration", "wav", "spk_id"])
        for path in find_audio(folder):
            signal, rate = audio_io.load(path)
            speaker = Path(path).parts[-3]
            writer.writerow([path, signal.shape[-1] / rate, path, speaker])


def prepare(folder: Path, save_folder: Path) -> None:
    """Prepare anew, without development speakers: the same rows."""
    shutil.rmtree(save_folder, ignore_errors=True)
    prepare_voxceleb1(folder, save_folder, num_dev_speakers=0)


def prepare_alone(folder: Path) -> None:
    """Prepare once, in this process; print seconds and peak GB as JSON."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as save_folder:
        prepare(folder, Path(save_folder))
    result = {"seconds": time.perf_counter() - started, "gb": peak_memory()}
    sys.stdout.write(json.dumps(result) + "\n")


def measure_tiny(num_files: int, repeats: int) -> tuple[Row, float]:
    """Prepare tiny files, each time in a fresh process; row and peak GB."""
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_corpus(Path(folder), num_files)
        results = [
            run_alone("benchmarks.preparation", f"--alone={folder}")
            for _ in range(repeats)
        ]
    peak = max(result["gb"] for result in results)
    row = Row(
        f"preparation of {num_files:,} tiny WAVs",
        [result["seconds"] for result in results],
        num_files,
        "files",
        f"peak {peak:.2f} GB, Python and torch included",
    )
    return row, peak


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("preparation", __doc__)
    parser.add_argument("--num_files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--num_tiny", type=int, default=148_642)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    if args.alone:
        prepare_alone(args.alone)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "corpus")
        write_corpus(folder, args.num_files, args.seconds)
        seconds = time_alternately(
            {
                "decoding": lambda: decode_all(folder, Path(name, "all.csv")),
                "headers": lambda: prepare(folder, Path(name, "save")),
            },
            args.repeats,
        )
    files = f"{args.num_files:,} WAVs of {args.seconds:g} s"
    decoding = Row(
        f"every file decoded, {files}",
        *(seconds["decoding"], args.num_files, "files"),
    )
    headers = Row(
        f"preparation of {files}",
        *(seconds["headers"], args.num_files, "files"),
    )
    tiny, peak = measure_tiny(args.num_tiny, min(args.repeats, 3))
    number = f"{args.num_tiny:,} WAVs"
    targets = [
        Target("decoding / preparation", ratio(decoding, headers), 10.0),
        Target(number, tiny.median, 60.0, False, "s"),
        Target(f"{number}, peak memory", peak, 1.5, False, "GB"),
    ]
    rows = [decoding, headers, tiny]
    write_stage("preparation", args, "cpu", rows, targets)


if __name__ == "__main__":
    run(main)
