"""How often do 95 % intervals over speakers hold the true value?

Example: python -m benchmarks.coverage --num_trials=37720 --num_worlds=200

Worlds of endless speakers, whose error rates are known, are drawn: the scores
of 40 speakers with effects of speakers and of pairs of speakers. Each gets
the intervals of EER and minDCF. It writes `results/coverage/<trials>.json`
and renews `results/coverage/table.md`.
"""

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from command import Parser, run
from cpu_memory import keep_freed_memory
from report import git_commit, machine, write_json
from tqdm import tqdm
from whole_files import replacing

from benchmarks import ROOT
from custom_modules.metrics import (
    equal_error_rate,
    min_dcf,
    speaker_intervals,
)

OUTPUT = ROOT / "results" / "coverage"
P_TARGETS = (0.05, 0.01)


class Effects(NamedTuple):
    """Standard deviations in scores; that of single trials is 1.

    Arguments
    ---------
    own : float
        Of a speaker's targets.
    other : float
        Of a speaker's non-targets, on both sides.
    pair : float
        Of a pair's non-targets.
    """

    own: float
    other: float
    pair: float

    @property
    def share(self) -> float:
        """Part of the variance of non-targets that is not single trials'."""
        variance = 2 * self.other**2 + self.pair**2
        return variance / (1 + variance)


class Kind(NamedTuple):
    """A kind of worlds: mean of the targets, above the non-targets' of 0."""

    mean: float
    effects: Effects


# Means that make the EERs alike, 2.6 to 4.5 %.
KINDS = {
    "weak": Kind(4.0, Effects(0.3, 0.1, 0.1)),
    "mild": Kind(4.0, Effects(0.7, 0.3, 0.3)),
    "strong": Kind(5.0, Effects(0.7, 0.8, 0.5)),
    "strongest": Kind(5.0, Effects(0.7, 0.9, 0.6)),
}


def metrics(p_targets: tuple[float, ...] = P_TARGETS) -> dict:
    """EER and minDCFs by their names."""
    costs = {
        f"minDCF({p})": functools.partial(min_dcf, p_target=p)
        for p in p_targets
    }
    return {"EER": equal_error_rate, **costs}


def speaker_world(
    seed: int,
    means: tuple[float, ...],
    effects: Effects,
    num_speakers: int = 40,
    size: int = 2000,
) -> tuple[np.ndarray, ...]:
    """Draw the scores of systems on the same trials.

    Half the variance of all effects is common to the systems.

    Arguments
    ---------
    seed : int
        Of the world.
    means : tuple[float, ...]
        Of the targets of each system.
    effects : Effects
        Of speakers and of pairs.
    num_speakers : int
        In the trials.
    size : int
        Trials, half of them targets.

    Returns
    -------
    world : tuple[np.ndarray, ...]
        Scores of each system, is_target, and the speakers of both sides,
        (size,) each.

    Example
    -------
    >>> scores, is_target, *_ = speaker_world(0, (4.0,), Effects(1, 1, 1))
    >>> scores.shape, int(is_target.sum())
    ((2000,), 1000)
    """
    generator = np.random.default_rng(seed)
    is_target = np.arange(size) % 2 == 0
    enrol = generator.integers(num_speakers, size=size)
    step = generator.integers(1, num_speakers, size=size)
    test = np.where(is_target, enrol, (enrol + step) % num_speakers)
    low, high = np.minimum(enrol, test), np.maximum(enrol, test)

    def draw() -> np.ndarray:
        own = effects.own * generator.normal(size=num_speakers)
        other = effects.other * generator.normal(size=num_speakers)
        pair = effects.pair * generator.normal(size=(num_speakers,) * 2)
        return generator.normal(size=size) + np.where(
            is_target, own[enrol], other[enrol] + other[test] + pair[low, high]
        )

    common = draw()
    systems = [
        (common + draw()) / math.sqrt(2) + mean * is_target for mean in means
    ]
    return *systems, is_target, enrol, test


def true_rates(
    mean: float, effects: Effects, p_targets: tuple[float, ...] = P_TARGETS
) -> dict[str, float]:
    """EER and minDCFs of endless speakers, whose scores are normal.

    Example
    -------
    >>> rates = true_rates(4.0, Effects(0.7, 0.3, 0.3))
    >>> {name: round(rate, 3) for name, rate in rates.items()}
    {'EER': 0.044, 'minDCF(0.05)': 0.279, 'minDCF(0.01)': 0.435}
    """
    targets = NormalDist(mean, math.hypot(1, effects.own))
    others = NormalDist(
        0, math.hypot(1, effects.other, effects.other, effects.pair)
    )
    # Where (mean - t) / targets.stdev = t / others.stdev.
    rates = {"EER": NormalDist().cdf(-mean / (targets.stdev + others.stdev))}
    errors = [
        (targets.cdf(t), others.cdf(-t)) for t in np.linspace(-2, 16, 1801)
    ]
    for p in p_targets:
        costs = (miss + (1 / p - 1) * alarm for miss, alarm in errors)
        rates[f"minDCF({p})"] = min(1.0, *costs)
    return rates


def cover(kind: Kind, seeds: range, args: argparse.Namespace) -> dict:
    """Count the intervals of a kind's worlds that hold the truth.

    Arguments
    ---------
    kind : Kind
        Of the worlds.
    seeds : range
        One for each world.
    args : argparse.Namespace
        num_speakers, num_trials and num_resamples.

    Returns
    -------
    measured : dict
        Of each metric: truth, covered, its standard error (binomial), the
        parts of the intervals that are too low and too high, and the medians
        of their ends.
    """
    truth = true_rates(kind.mean, kind.effects)
    ends = np.empty((len(seeds), len(truth), 2))
    for row, seed in zip(ends, tqdm(seeds, disable=None), strict=True):
        world = speaker_world(
            seed, (kind.mean,), kind.effects, args.num_speakers, args.num_trials
        )
        estimates = speaker_intervals(
            *world, list(metrics().values()), args.num_resamples, seed
        )
        row[:] = [estimate[1:] for estimate in estimates]
    measured = {}
    for column, (name, value) in enumerate(truth.items()):
        low, high = ends[:, column].T
        covered = float(np.mean((low <= value) & (value <= high)))
        measured[name] = {
            "truth": round(value, 5),
            "covered": covered,
            "standard_error": math.sqrt(covered * (1 - covered) / len(seeds)),
            "too_low": float(np.mean(high < value)),
            "too_high": float(np.mean(low > value)),
            "median_low": round(float(np.median(low)), 5),
            "median_high": round(float(np.median(high)), 5),
        }
    return measured


def make_table(folder: Path) -> str:
    """One Markdown table of all results in a folder."""
    lines = [
        "# Coverage of nominal 95 % intervals over speakers",
        "",
        "Written by `python -m benchmarks.coverage`. Median interval: of the "
        "lower and of the upper ends.",
        "",
        "| trials | effects of speakers | metric | truth | covered, % | too "
        "low, % | too high, % | median interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    origins = []
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        content = json.loads(path.read_text("utf-8"))
        settings = content["settings"]
        for kind, found in content["kinds"].items():
            for name, one in found["metrics"].items():
                lines.append(
                    f"| {settings['num_trials']:,} | {kind} | {name} | "
                    f"{one['truth']:.3f} | {100 * one['covered']:.1f} ± "
                    f"{100 * one['standard_error']:.1f} | "
                    f"{100 * one['too_low']:.1f} | "
                    f"{100 * one['too_high']:.1f} | {one['median_low']:.3f} "
                    f"to {one['median_high']:.3f} |"
                )
        origins.append(
            f"- {settings['num_trials']:,} trials: {content['machine']}; "
            f"commit {content['commit']}; "
            f"{', '.join(f'{k} {v}' for k, v in settings.items())}"
        )
    effects = [
        f"- {name}: {', '.join(f'{k} {v}' for k, v in kind._asdict().items())}"
        for name, (_, kind) in KINDS.items()
    ]
    return "\n".join(
        [
            *lines,
            "",
            "Standard deviations of the effects; that of single trials is 1:",
            "",
            *effects,
            "",
            "Machines and settings:",
            "",
            *origins,
            "",
        ]
    )


def main(argv: list[str]) -> None:
    """Simulate as the command line says."""
    parser = Parser(
        prog="python -m benchmarks.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, default=OUTPUT, help="folder of the results")
    for name, default, help_ in (
        ("num_trials", 6000, "of each world, half of them targets"),
        ("num_speakers", 40, "of each world"),
        ("num_worlds", 300, "of each kind"),
        ("num_resamples", 300, "of the bootstrap"),
        ("seed", 1986, "of the first world; the others follow"),
    ):
        add(f"--{name}", type=int, default=default, help=f"{help_}, {default}")
    args = parser.parse_args(argv)
    if args.num_worlds < 1:
        raise ValueError(f"num_worlds ({args.num_worlds}) must be positive")
    keep_freed_memory()
    seeds = range(args.seed, args.seed + args.num_worlds)
    kinds = {
        name: {
            "mean": kind.mean,
            "effects": kind.effects._asdict(),
            "share_of_speakers": round(kind.effects.share, 3),
            "metrics": cover(kind, seeds, args),
        }
        for name, kind in KINDS.items()
    }
    settings = {k: v for k, v in vars(args).items() if k != "output"}
    args.output.mkdir(parents=True, exist_ok=True)
    write_json(
        args.output / f"{args.num_trials}.json",
        {
            "machine": machine("cpu"),
            "commit": git_commit(),
            "settings": settings,
            "kinds": kinds,
        },
    )
    table = make_table(args.output)
    with replacing(args.output / "table.md") as partial:
        partial.write_text(table, "utf-8")
    sys.stdout.write(table)


if __name__ == "__main__":
    run(main)
