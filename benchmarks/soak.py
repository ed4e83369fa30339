"""Train for thousands of steps, and see that nothing grows.

    python -m benchmarks.soak

makes a small corpus, trains a narrow model on it with loader workers, noises,
rooms, many checkpoints and validations, and looks at the training's processes
all the while: their memory, open files and threads. It writes
`results/soak/soak.json`; Linux alone tells these things, in /proc.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from command import Parser, run
from report import git_commit, machine, write_json
from synthetic_corpus import make_corpus

from benchmarks import ROOT
from benchmarks.measurement import Target
from benchmarks.process_usage import (
    Usage,
    memory_kind,
    processes_of,
    read_usage,
)

OUTPUT = ROOT / "results" / "soak"
RECIPE = ROOT / "recipes" / "VoxCeleb1"
HPARAMS = ROOT / "hparams" / "mfcon.yaml"
MAX_GROWTH = 5.0  # MB per 1,000 steps
PATIENCE = 120.0  # s without a step, at the start or at the end
BATCH_SIZE, NUM_WORKERS, NUM_DEV_SPEAKERS = 8, 2, 2
OVERRIDES = [
    "--device=cpu",
    f"--batch_size={BATCH_SIZE}",
    "--sentence_len=0.5",
    f"--num_dev_speakers={NUM_DEV_SPEAKERS}",
    "--num_dev_trials=20",
    "--warmup_steps=4",
    f"--num_workers={NUM_WORKERS}",
    "--d_model=16",
    "--num_blocks=2",
    "--d_ffn=32",
    "--subsampling=4",
    "--subsampling_channels=4",
    "--attention_channels=8",
    "--emb_dim=16",
    "--noprogressbar",
    "--ckpt_interval_minutes=0",
]


class Sample(NamedTuple):
    """A look at a training.

    Arguments
    ---------
    step : int
        Steps that its newest checkpoint has.
    main : Usage
        Of the main process.
    others : list[Usage]
        Of each process that it started: loader workers, and during a
        validation those of its loader, too.
    """

    step: int
    main: Usage
    others: list[Usage]

    @property
    def workers(self) -> Usage:
        """What the other processes hold together."""
        return Usage(*(sum(values) for values in zip(*self.others)))  # noqa: B905


def take_sample(session: int, kind: str, step: int) -> Sample | None:
    """Look at a training; None where a process came or went meanwhile."""
    pids = processes_of(session)
    try:
        usages = {pid: read_usage(pid, kind) for pid in pids}
    except OSError:
        return None
    if session not in pids or processes_of(session) != pids:
        return None
    return Sample(step, usages.pop(session), list(usages.values()))


def newest_step(save: Path) -> int:
    """Steps that the newest checkpoint in a folder has; 0 without one."""
    steps = [0]
    for path in save.glob("CKPT*/brain.ckpt"):
        with contextlib.suppress(FileNotFoundError):  # deleted as we look
            text = path.read_text()
            steps.append(int(re.search(r"optimizer_step: (\d+)", text)[1]))
    return max(steps)


def watch(
    process: subprocess.Popen, save: Path, interval: float, kind: str
) -> list[Sample]:
    """Look at a training until it ends.

    Arguments
    ---------
    process : subprocess.Popen
        Its main process, which began a session.
    save : Path
        Folder of its checkpoints.
    interval : float
        s between two looks.
    kind : str
        Of memory, "PSS" or "RSS".

    Raises
    ------
    ValueError
        Where it makes no step for long, but does not end.
    """
    samples, step, stepped_at = [], 0, time.monotonic()
    while process.poll() is None:
        newest = newest_step(save)
        if newest > step:
            step, stepped_at = newest, time.monotonic()
        if time.monotonic() - stepped_at > PATIENCE:
            raise ValueError(
                f"the training hangs: after {step} steps none in {PATIENCE:g} s"
            )
        sample = take_sample(process.pid, kind, step)
        if sample is not None:
            samples.append(sample)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(interval)
    return samples


def growth(steps: list[int], megabytes: list[float]) -> float:
    """Slope of the least-squares line, in MB per 1,000 steps.

    It is laid through the medians of ten parts: a look that comes while a
    validation's workers are being forked finds half of the memory.

    Example
    -------
    >>> round(growth([0, 500, 1000], [300.0, 301.0, 302.0]), 6)
    2.0
    """
    num_parts = min(10, len(steps))
    x, y = (
        [np.median(part) for part in np.array_split(values, num_parts)]
        for values in (steps, megabytes)
    )
    return float(1000 * np.polyfit(x, y, 1)[0])


def summarise(samples: list[Sample], num_steps: int) -> dict[str, dict]:
    """What the main process and its workers hold after warm-up and at the end.

    After warm-up is the second quarter of the steps, the end is the last.
    Samples between validations count, when each process is there that always
    is, and no other. Memory is the median of a quarter, and its growth that
    of the second half. Handles and threads are the fewest of a quarter: what
    is held always, without the file of a checkpoint that is being written.

    Arguments
    ---------
    samples : list[Sample]
        Of a training.
    num_steps : int
        That it had.

    Returns
    -------
    summary : dict[str, dict]
        "main" and "workers", which are counted together; ready for JSON.

    Raises
    ------
    ValueError
        Where a quarter has too few samples: steps are too few, or processes
        too many.
    """
    steady = [s for s in samples if len(s.others) == NUM_WORKERS]
    quarters = {
        "after_warmup": [s for s in steady if 1 < 4 * s.step / num_steps <= 2],
        "end": [s for s in steady if 4 * s.step / num_steps > 3],
    }
    half = [s for s in steady if 2 * s.step >= num_steps]
    for name, quarter in quarters.items():
        if len(quarter) < 2:
            most = max((len(s.others) for s in samples), default=0)
            raise ValueError(
                f"{len(quarter)} samples {name} have {NUM_WORKERS} workers, "
                f"of {len(samples)} in all, with up to {most}: give more "
                "--steps or a shorter --interval, if workers end as they should"
            )
    summary = {}
    for who in ("main", "workers"):
        usages = {
            name: [getattr(sample, who) for sample in quarter]
            for name, quarter in quarters.items()
        }
        summary[who] = {
            "mb_per_1000_steps": growth(
                [sample.step for sample in half],
                [getattr(sample, who).megabytes for sample in half],
            ),
            "mb": {
                name: statistics.median(usage.megabytes for usage in quarter)
                for name, quarter in usages.items()
            },
            "handles": {
                name: min(usage.handles for usage in quarter)
                for name, quarter in usages.items()
            },
            "threads": {
                name: min(usage.threads for usage in quarter)
                for name, quarter in usages.items()
            },
        }
    return summary


def make_targets(summary: dict[str, dict], num_left: int) -> list[Target]:
    """What should not grow, and by how much it did.

    Arguments
    ---------
    summary : dict[str, dict]
        Of `summarise`.
    num_left : int
        Processes that are there after the training's end.
    """
    targets = []
    for who, held in summary.items():
        slope, unit = held["mb_per_1000_steps"], "MB per 1,000 steps"
        targets.append(Target(f"{who}: memory", slope, MAX_GROWTH, False, unit))
        for what in ("handles", "threads"):
            more = held[what]["end"] - held[what]["after_warmup"]
            targets.append(Target(f"{who}: more {what}", more, 0, False, what))
    return [*targets, Target("left", num_left, 0, False, "processes")]


def steps_per_epoch(data: Path) -> int:
    """Whole batches of a synthetic corpus, development speakers left out."""
    settings = json.loads((data / "corpus.json").read_text("utf-8"))["settings"]
    num_utterances = (
        (settings["num_train_speakers"] - NUM_DEV_SPEAKERS)
        * settings["num_sessions"]
        * settings["utterances_per_session"]
    )
    return num_utterances // BATCH_SIZE


def soak(data: Path, folder: Path, args: argparse.Namespace) -> dict:
    """Train, and say what was held.

    Arguments
    ---------
    data : Path
        A synthetic corpus.
    folder : Path
        To write to.
    args : argparse.Namespace
        The command line.

    Returns
    -------
    content : dict
        For JSON.

    Raises
    ------
    ValueError
        Where the training fails, or does nothing for minutes.
    """
    output = folder / "output"
    overrides = [
        *OVERRIDES,
        f"--num_epochs={-(-args.steps // steps_per_epoch(data))}",
        f"--ckpt_interval_steps={args.ckpt_interval_steps}",
    ]
    command = [
        *(sys.executable, str(RECIPE / "train_speaker_embeddings.py")),
        *(str(HPARAMS), f"--data_folder={data}", f"--output_folder={output}"),
        *(f"--noise_folder={data / 'noise'}", f"--rir_folder={data / 'rir'}"),
        *overrides,
    ]
    commit, kind, started = git_commit(), memory_kind(), time.perf_counter()
    with open(folder / "said.txt", "w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            cwd=RECIPE,
            # Two threads of a narrow model mostly wait for each other, and
            # without end where the machine has something else to do.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            samples = watch(process, output / "save", args.interval, kind)
            seconds = time.perf_counter() - started
            num_left = len(processes_of(process.pid))
        finally:
            with contextlib.suppress(ProcessLookupError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            said.seek(0)
            raise ValueError(
                f"the training ended with status {process.returncode}: "
                f"{said.read().strip()[-1000:]}"
            )
    num_steps = newest_step(output / "save")
    log = (output / "log.txt").read_text("utf-8")
    summary = summarise(samples, num_steps)
    return {
        "machine": machine("cpu"),
        "commit": commit,
        "settings": {"interval_s": args.interval, "overrides": overrides},
        "steps": num_steps,
        "seconds": seconds,
        "num_checkpoints": log.count("Saved a checkpoint in "),
        "num_validations": (output / "train_log.txt")
        .read_text("utf-8")
        .count("valid eer: "),
        "num_samples": len(samples),
        "memory": kind,
        **summary,
        "targets": [t.as_dict() for t in make_targets(summary, num_left)],
    }


def describe(content: dict) -> str:
    """A few lines of what came out."""
    lines = [
        f"{content['steps']:,} steps in {content['seconds']:.0f} s, "
        f"{content['num_checkpoints']:,} checkpoints, "
        f"{content['num_validations']:,} validations"
    ]
    for who in ("main", "workers"):
        held = content[who]
        parts = [
            f"{label} {held[key]['after_warmup']:.{digits}f} to "
            f"{held[key]['end']:.{digits}f}"
            for key, label, digits in (
                ("mb", f"{content['memory']} in MB", 1),
                ("handles", "handles", 0),
                ("threads", "threads", 0),
            )
        ]
        lines.append(f"{who}, after warm-up to end: {', '.join(parts)}")
    for target in content["targets"]:
        verdict = "met" if target["is_met"] else "NOT MET"
        lines.append(
            f"{target['what']}: {target['value']:.3g} {target['unit']}, at "
            f"most {target['bound']:g}: {verdict}"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
    """Train and measure as the command line says."""
    parser = Parser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        epilog="Example: python -m benchmarks.soak --steps=500",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="folder of the results"
    )
    parser.add_argument(
        "--data_folder",
        type=Path,
        help="of a synthetic corpus, which else is made for the time",
    )
    parser.add_argument(
        "--steps", type=int, default=2000, help="rounded up to whole epochs"
    )
    parser.add_argument("--ckpt_interval_steps", type=int, default=5)
    parser.add_argument(
        "--interval", type=float, default=1.0, help="s between two looks"
    )
    args = parser.parse_args(argv)
    if not Path("/proc/self/fd").is_dir():
        raise ValueError("this system has no /proc/PID/fd: use Linux")
    with tempfile.TemporaryDirectory() as name:
        data = args.data_folder
        if data is None:
            data = Path(name) / "data"
            make_corpus(
                data,
                num_train_speakers=22,
                num_test_speakers=3,
                num_sessions=2,
                utterances_per_session=4,
                num_trials=40,
                num_noises=2,
                num_rirs=2,
                utterance_seconds=(0.6, 1.4),
            )
        content = soak(data.absolute(), Path(name), args)
    args.output.mkdir(parents=True, exist_ok=True)
    write_json(args.output / "soak.json", content)
    sys.stdout.write(describe(content))


if __name__ == "__main__":
    run(main)
