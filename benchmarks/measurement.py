"""Time things side by side, and write down what came out.

A stage is a file of results: what was measured, on what machine, at which
commit, with which settings; its rows are timings, its targets ratios or times
that issue and README name.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from command import Parser
from report import git_commit, machine, write_json
from torch.profiler import ProfilerActivity, profile

from benchmarks import ROOT
from benchmarks.table import make_table

OUTPUT = ROOT / "results" / "benchmarks"


class Row(NamedTuple):
    """A thing that was timed.

    Arguments
    ---------
    what : str
        What it is.
    seconds : list[float]
        Of each repeat.
    count : int
        Units of work of a repeat, such as crops.
    unit : str
        Their name.
    note : str
        What else is to know, such as memory, or what was extrapolated.
    """

    what: str
    seconds: list[float]
    count: int
    unit: str
    note: str = ""

    @property
    def median(self) -> float:
        """Seconds of the repeat in the middle."""
        return statistics.median(self.seconds)

    def as_dict(self) -> dict:
        """For JSON, with what follows from the seconds."""
        return {
            "what": self.what,
            "median_s": self.median,
            "fastest_s": min(self.seconds),
            "slowest_s": max(self.seconds),
            "repeats": len(self.seconds),
            "count": self.count,
            "unit": self.unit,
            "per_second": self.count / self.median,
            "note": self.note,
        }


class Target(NamedTuple):
    """What a figure should be.

    Arguments
    ---------
    what : str
        The figure, such as "whole files / seeking".
    value : float
        As measured.
    bound : float
        What it should reach, or stay below.
    is_lower_bound : bool
        Reach, not stay below.
    unit : str
        "x" for a ratio, "s" or "GB".
    """

    what: str
    value: float
    bound: float
    is_lower_bound: bool = True
    unit: str = "x"

    def as_dict(self) -> dict:
        """For JSON, with whether it is met."""
        met = self.value >= self.bound
        if not self.is_lower_bound:
            met = self.value <= self.bound
        return {**self._asdict(), "is_met": met}


def time_alternately(
    tasks: dict[str, Callable[[], object]], repeats: int, warmups: int = 1
) -> dict[str, list[float]]:
    """Time tasks in turn, so that a slow minute is slow for all of them.

    Arguments
    ---------
    tasks : dict[str, Callable[[], object]]
        Name → what to call.
    repeats : int
        Timed calls of each.
    warmups : int
        Calls of each before them.

    Returns
    -------
    seconds : dict[str, list[float]]
        Name → seconds of each repeat.

    Example
    -------
    >>> seconds = time_alternately({"nothing": lambda: None}, repeats=3)
    >>> len(seconds["nothing"])
    3
    """
    for task in tasks.values():
        for _ in range(warmups):
            task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(reference: Row, row: Row) -> float:
    """How many times the work of the reference a row does in its time."""
    return (row.count / row.median) / (reference.count / reference.median)


def run_alone(module: str, *arguments: str) -> dict:
    """Run a benchmark in a process of its own; its last line is JSON.

    So its memory is its own, and what the C library keeps, too.
    """
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def operation_shares(
    task: Callable[[], object], device: str, num_named: int = 10
) -> dict[str, float]:
    """The profile of a task: each operation's share of its time.

    Arguments
    ---------
    task : Callable[[], object]
        What to call, once.
    device : str
        "cpu", whose time is told, or "cuda:0", whose kernels' time is.
    num_named : int
        Operations to name; the rest is "others".

    Returns
    -------
    shares : dict[str, float]
        Name → share, the largest first.

    Example
    -------
    >>> matrix = torch.rand(200, 200)
    >>> max(operation_shares(lambda: matrix @ matrix, "cpu"))
    'others'
    """
    activities = [ProfilerActivity.CPU]
    if device != "cpu":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        task()
        if device != "cpu":
            torch.cuda.synchronize()
    field = "self_cpu_time_total"
    if device != "cpu":
        field = "self_device_time_total"
    times = {
        event.key: getattr(event, field) for event in profiler.key_averages()
    }
    total = sum(times.values())
    named = sorted(times, key=lambda name: -times[name])[:num_named]
    shares = {name: times[name] / total for name in named}
    return {**shares, "others": 1 - sum(shares.values())}


def peak_memory() -> float:
    """The largest that this process has been, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1e3 if sys.platform == "linux" else 1.0) / 1e9


def product_rate(device: str) -> float:
    """Operations a second of a large float32 matrix product."""
    matrix = torch.randn(4096, 4096, device=device)
    matrix @ matrix
    if device != "cpu":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(3):
        product = matrix @ matrix
    product.sum().item()
    return 3 * 2 * 4096**3 / (time.perf_counter() - started)


def stage_parser(stage: str, description: str) -> Parser:
    """Parser of a stage's command line, with what all of them take."""
    parser = Parser(
        prog=f"python -m benchmarks.{stage}",
        description=description,
        epilog=f"Example: python -m benchmarks.{stage} --repeats=3",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="folder of the results"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed calls of each"
    )
    return parser


def write_stage(
    stage: str,
    args: argparse.Namespace,
    device: str,
    rows: Sequence[Row],
    targets: Sequence[Target],
    **more: object,
) -> None:
    """Write a stage's JSON, and the table of all stages anew.

    Arguments
    ---------
    stage : str
        Name of the file.
    args : argparse.Namespace
        The command line: settings.
    device : str
        "cpu" or "cuda:0".
    rows : Sequence[Row]
        What was timed.
    targets : Sequence[Target]
        What should come out.
    more : object
        Further entries, ready for JSON; "profiles", of `operation_shares`
        by what was profiled, go into the table too.
    """
    settings = {
        key: value
        for key, value in vars(args).items()
        if key not in ("output", "alone")
    }
    args.output.mkdir(parents=True, exist_ok=True)
    content = {
        "stage": stage,
        "machine": machine(device),
        "commit": git_commit(),
        "settings": settings,
        "rows": [row.as_dict() for row in rows],
        "targets": [target.as_dict() for target in targets],
        **more,
    }
    write_json(args.output / f"{stage}.json", content)
    table = make_table(args.output)
    (args.output / "table.md").write_text(table, "utf-8")
    sys.stdout.write(table)
