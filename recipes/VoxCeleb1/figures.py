"""The recipe's figures: numbers to matplotlib's `Figure`; reads no files.

All are made to be read in grey: colours are the colour-blind-safe ones of
Okabe and Ito, and line styles, markers and hatches differ too. `pyplot`, which
keeps a global state, is not used.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.special import ndtr, ndtri
from whole_files import replacing

from custom_modules.metrics import det_curve, equal_error_rate

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same anywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "speaker-embedding-modules",  # else ids are random
}
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7")
LINES = (
    "-",
    (0, (5, 2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (1, 1.2)),
    (0, (9, 2.5)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
)
MARKERS = ("o", "s", "^", "D", "v", "P")
GRID = {"color": "0.85", "linewidth": 0.6}
PNG_DPI = 200

# Error rates in % that get a tick, as in NIST's evaluations.
DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60)
DET_TICKS += (80, 90, 95, 98, 99)
CLOSEST = 1e-4  # %, to 0 and to 100, whose normal deviates are infinite
NUM_BINS = 80


class ScoredSystem(NamedTuple):
    """One system's scores (trials,) and truths (trials,), named."""

    label: str
    scores: np.ndarray
    is_target: np.ndarray
    eer_interval: tuple[float, float]  # %, 95 % over speakers


def to_deviate(percent: np.ndarray) -> np.ndarray:
    """Normal deviate (probit) of a rate in %, kept off 0 and 100 %.

    Example
    -------
    >>> to_deviate(np.array([50.0, 97.725])).round(3) + 0.0
    array([0., 2.])
    """
    return ndtri(np.clip(percent, CLOSEST, 100 - CLOSEST) / 100)


def to_percent(deviate: np.ndarray) -> np.ndarray:
    """Rate in % of a normal deviate: the inverse of `to_deviate`.

    Example
    -------
    >>> float(to_percent(0.0))
    50.0
    """
    return 100 * ndtr(deviate)


def det_points(
    scores: np.ndarray, is_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """DET curve in %, with the point of equal rates among its points.

    Arguments
    ---------
    scores : np.ndarray
        (trials,).
    is_target : np.ndarray
        (trials,).

    Returns
    -------
    false_alarm : np.ndarray
        (points,), falling.
    miss : np.ndarray
        (points,), rising.

    Example
    -------
    >>> scores = np.array([0.1, 0.3, 0.2, 0.4])
    >>> for rates in det_points(scores, np.array([0, 0, 1, 1])):
    ...     print(rates)
    [100.  50.  50.  50.   0.   0.]
    [  0.   0.  50.  50.  50. 100.]
    """
    miss, false_alarm, _ = det_curve(scores, is_target)
    eer, _ = equal_error_rate(scores, is_target)
    after = int(np.searchsorted(miss - false_alarm, 0.0))
    return tuple(
        100 * np.insert(rates, after, eer) for rates in (false_alarm, miss)
    )


def det_limits(systems: list[ScoredSystem]) -> tuple[float, float]:
    """Both axes' limits in %: ticks that show all that the trials can tell.

    The lower one is at about ten errors, below which a curve is chance.
    """
    eers = [100 * equal_error_rate(s.scores, s.is_target)[0] for s in systems]
    targets = np.count_nonzero(systems[0].is_target)
    fewest = min(targets, len(systems[0].is_target) - targets)
    lowest = min(1000 / fewest, min(eers) / 4, 1.0)
    low = max([tick for tick in DET_TICKS if tick <= lowest] or DET_TICKS[:1])
    return low, 60.0 if max(eers) < 40 else 99.0


@rc_context(STYLE)
def draw_det(systems: list[ScoredSystem], title: str) -> Figure:
    """Draw DET curves on normal-deviate axes, the EERs marked.

    Martin et al., "The DET curve in assessment of detection task
    performance", https://doi.org/10.21437/Eurospeech.1997-504; figure 3 of
    https://arxiv.org/abs/1906.09890. Normal scores give straight lines.

    Arguments
    ---------
    systems : list[ScoredSystem]
        On the same trials.
    title : str
        Of the figure.

    Returns
    -------
    figure : Figure
        To be written by `save_figure`.
    """
    figure = Figure(figsize=(5.2, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel="False alarm rate (%)", ylabel="Miss rate (%)")
    axes.set_xscale("function", functions=(to_deviate, to_percent))
    axes.set_yscale("function", functions=(to_deviate, to_percent))
    limits = det_limits(systems)
    ticks = [tick for tick in DET_TICKS if limits[0] <= tick <= limits[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set(xlim=limits, ylim=limits, box_aspect=1)
    axes.grid(**GRID)
    axes.plot(limits, limits, color="0.6", linewidth=0.8, zorder=1)
    for place, system in enumerate(systems):
        false_alarm, miss = det_points(system.scores, system.is_target)
        eer, _ = equal_error_rate(system.scores, system.is_target)
        at_eer = int(np.argmin(np.abs(miss - false_alarm)))
        low, high = system.eer_interval
        axes.plot(
            false_alarm,
            miss,
            color=COLOURS[place % len(COLOURS)],
            linestyle=LINES[place % len(LINES)],
            linewidth=1.5,
            marker=MARKERS[place % len(MARKERS)],
            markevery=[at_eer],
            markersize=7,
            markerfacecolor="white",
            markeredgewidth=1.4,
            label=f"{system.label}\nEER {100 * eer:.2f} % "
            f"({low:.2f} to {high:.2f})",
        )
    figure.legend(  # below: inside it would hide curves of high error rates
        loc="outside lower center",
        ncols=2,
        title="Marked: EER (95 % over speakers)",
        title_fontsize=8,
        frameon=False,
        handlelength=3.5,
    )
    return figure


@rc_context(STYLE)
def draw_scores(
    system: ScoredSystem,
    thresholds: dict[str, float],
    title: str,
    scoring: str = "cosine",
) -> Figure:
    """Draw histograms of the scores of target and non-target trials.

    Arguments
    ---------
    system : ScoredSystem
        Scores and truths.
    thresholds : dict[str, float]
        What each is, and where: vertical lines.
    title : str
        Of the figure.
    scoring : str
        What the scores are.

    Returns
    -------
    figure : Figure
        To be written by `save_figure`.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set(
        title=title,
        xlabel=f"Score ({scoring})",
        ylabel="Trials of each kind per bin (%)",
    )
    edges = np.histogram_bin_edges(system.scores, NUM_BINS)
    for name, chosen, colour, hatch in (
        ("non-target", ~system.is_target, "#0072B2", "\\\\\\\\"),
        ("target", system.is_target, "#E69F00", "////"),
    ):
        counts, _ = np.histogram(system.scores[chosen], edges)
        axes.stairs(
            100 * counts / counts.sum(),
            edges,
            fill=True,
            facecolor=(colour, 0.35),
            edgecolor=colour,
            hatch=hatch,
            linewidth=1.2,
            label=f"{name} ({counts.sum():,} trials)",
        )
    for place, (name, threshold) in enumerate(thresholds.items()):
        axes.axvline(
            threshold,
            color="black",
            linestyle=LINES[1 + place],
            linewidth=1.3,
            label=f"threshold {threshold:.3f}: {name}",
        )
    axes.set_xlim(edges[0], edges[-1])
    # Outside: the bars and lines of a good system leave no corner free.
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def save_figure(figure: Figure, output: Path) -> None:
    """Write `output`.png and `output`.svg, the same bytes each time.

    Arguments
    ---------
    figure : Figure
        The figure.
    output : Path
        Without a suffix; its folder is made if missing.

    Example
    -------
    >>> output = getfixture("tmp_path") / "nothing"
    >>> save_figure(Figure(), output)
    >>> sorted(path.name for path in output.parent.iterdir())
    ['nothing.png', 'nothing.svg']
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for suffix, metadata in (
        ("png", {"Software": None}),
        ("svg", {"Date": None, "Creator": None}),
    ):
        path = output.with_name(f"{output.name}.{suffix}")
        with replacing(path) as partial, rc_context(STYLE):
            figure.savefig(
                partial, format=suffix, dpi=PNG_DPI, metadata=metadata
            )
