#!/usr/bin/env python3
"""Compare two systems on the same trials: is one of them better?

usage: python compare.py A B [--output=FILE.json]

A and B are folders of verify.py, or the report.json or scores.txt of one.
EER and minDCF of both, their difference, its 95 % interval and p-value, all
by the bootstrap over speakers: see `custom_modules.bootstrap`.
"""

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from command import Parser, TaglessLoader, run
from cpu_memory import keep_freed_memory
from report import P_TARGETS, git_commit, write_json

from custom_modules.metrics import (
    Comparison,
    compare_systems,
    equal_error_rate,
    min_dcf,
)
from custom_modules.scoring import (
    Trials,
    read_scores,
    speaker_id,
    utterance_id,
)

VERIFY_YAML = Path(__file__).parent / "hparams" / "verify.yaml"
SETTINGS = {"num_resamples": int, "seed": int}


def add_settings(
    parser: argparse.ArgumentParser, kinds: dict[str, type]
) -> None:
    """Give a command keys of verify.yaml, with its values for defaults.

    Example
    -------
    >>> parser = argparse.ArgumentParser()
    >>> add_settings(parser, {"num_resamples": int})
    >>> parser.parse_args([]).num_resamples
    1000
    """
    settings = yaml.load(VERIFY_YAML.read_text("utf-8"), Loader=TaglessLoader)
    for key, kind in kinds.items():
        parser.add_argument(
            f"--{key}",
            type=kind,
            default=settings[key],
            help=f"as in verify.yaml, {settings[key]}",
        )


def find_scores(given: Path) -> Path:
    """The scores of a folder, of the report beside them, or themselves.

    Example
    -------
    >>> str(find_scores(Path("runs/baseline/report.json")))
    'runs/baseline/scores.txt'
    """
    if given.is_dir():
        return given / "scores.txt"
    return given.with_name("scores.txt") if given.suffix == ".json" else given


def match_trials(
    first: tuple[Trials, np.ndarray],
    second: tuple[Trials, np.ndarray],
    paths: tuple[Path, Path],
) -> np.ndarray:
    """Bring the scores of a second system into the first one's order.

    Arguments
    ---------
    first, second : tuple[Trials, np.ndarray]
        Trials and scores (trials,), in any order. Audio suffixes of names
        are no difference.
    paths : tuple[Path, Path]
        What an error calls them.

    Returns
    -------
    scores : np.ndarray
        (trials,) of the second system.

    Raises
    ------
    ValueError
        Names both, and the first line without a counterpart.

    Example
    -------
    >>> one = Trials(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]))
    >>> two = Trials(*(column[::-1] for column in one))
    >>> paths = Path("one.txt"), Path("two.txt")
    >>> match_trials((one, [0.8, 0.3]), (two, np.array([0.1, 0.9])), paths)
    array([0.9, 0.1])
    """
    lines = [
        [
            f"{label:d} {utterance_id(enrol)} {utterance_id(test)}"
            for enrol, test, label in zip(*trials, strict=True)
        ]
        for trials, _ in (first, second)
    ]
    for own, other in ((0, 1), (1, 0)):
        left = Counter(lines[other])
        for number, line in enumerate(lines[own], start=1):
            left[line] -= 1
            if left[line] < 0:
                raise ValueError(
                    f"{paths[own]} and {paths[other]} are of different trials: "
                    f"{line!r}, line {number} of the first, is not in the "
                    "second (or not as often); verify both on one list"
                )
    orders = [
        sorted(range(len(of_system)), key=lambda i: (of_system[i], scores[i]))
        for of_system, (_, scores) in zip(lines, (first, second), strict=True)
    ]
    matched = np.empty(len(second[1]))
    matched[orders[0]] = second[1][orders[1]]
    return matched


def compare(paths: tuple[Path, Path], args: argparse.Namespace) -> dict:
    """Compare the scores of two files.

    Arguments
    ---------
    paths : tuple[Path, Path]
        Scores of A and of B.
    args : argparse.Namespace
        p_target, num_resamples and seed.

    Returns
    -------
    result : dict
        Of eer_percent and min_dcf each a, b and difference, [value, low,
        high], and p_value; numbers of trials and speakers, settings, commit;
        ready for JSON.

    Raises
    ------
    ValueError, FileNotFoundError
        Names a file that is malformed or missing, or both where their trials
        differ.
    """
    first, second = map(read_scores, paths)
    trials, scores = first
    matched = match_trials(first, second, paths)
    enrol = [speaker_id(name) for name in trials.enrol]
    test = [speaker_id(name) for name in trials.test]
    metrics = {
        "eer_percent": (equal_error_rate, 100.0),
        "min_dcf": (partial(min_dcf, p_target=args.p_target), 1.0),
    }
    measured = {
        name: to_json(
            compare_systems(
                *(scores, matched, trials.is_target, enrol, test, metric),
                *(args.num_resamples, args.seed),
            ),
            scale,
        )
        for name, (metric, scale) in metrics.items()
    }
    return {
        "a": str(args.a),
        "b": str(args.b),
        **measured,
        "p_target": args.p_target,
        "num_trials": len(scores),
        "num_target_trials": int(np.sum(trials.is_target)),
        "num_speakers": len({*enrol, *test}),
        "num_resamples": args.num_resamples,
        "seed": args.seed,
        "commit": git_commit(),
    }


def to_json(comparison: Comparison, scale: float) -> dict:
    """Name and round a comparison's numbers, as in a report."""
    *estimates, p_value = comparison
    rounded = [
        [round(scale * number, 4) for number in estimate]
        for estimate in estimates
    ]
    names = ("a", "b", "difference")
    return {**dict(zip(names, rounded, strict=True)), "p_value": p_value}


def tabulate(result: dict) -> str:
    """What `compare` returns as a small table for people."""
    heads = ("", "A (95 %)", "B (95 %)", "A - B (95 %)", "p")
    rows = [heads]
    for name, key, decimals in (
        ("EER, %", "eer_percent", 2),
        (f"minDCF({result['p_target']:g})", "min_dcf", 3),
    ):
        cells = [
            "{:.{n}f} ({:.{n}f} to {:.{n}f})".format(*estimate, n=decimals)
            for estimate in list(result[key].values())[:3]
        ]
        rows.append((name, *cells, f"{result[key]['p_value']:.2g}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(
        [
            f"A: {result['a']}",
            f"B: {result['b']}",
            *lines,
            f"{result['num_trials']} trials ({result['num_target_trials']} "
            f"target) of {result['num_speakers']} speakers, "
            f"{result['num_resamples']} resamples of the speakers, seed "
            f"{result['seed']}\n",
        ]
    )


def main(argv: list[str]) -> None:
    """Compare two systems as the command line says."""
    parser = Parser(
        prog="compare.py",
        description="Compare two systems on the same trials.",
        epilog="Example: python compare.py runs/baseline "
        "runs/mfcon/1986/verification",
    )
    help_ = "folder of verify.py, or its report.json or scores.txt"
    parser.add_argument("a", metavar="A", type=Path, help=help_)
    parser.add_argument("b", metavar="B", type=Path, help="the same")
    parser.add_argument(
        "--p_target",
        type=float,
        default=P_TARGETS[0],
        help=f"prior of minDCF, {P_TARGETS[0]}",
    )
    add_settings(parser, SETTINGS)
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="written too"
    )
    args = parser.parse_args(argv)
    keep_freed_memory()  # halves the time
    result = compare((find_scores(args.a), find_scores(args.b)), args)
    if args.output:
        args.output.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_json(args.output, result)
    sys.stdout.write(tabulate(result))


if __name__ == "__main__":
    run(main)
