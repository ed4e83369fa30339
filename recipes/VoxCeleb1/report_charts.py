"""The report page's charts: numbers to inline SVG."""

from itertools import pairwise

import numpy as np
from figures import (
    DET_TICKS,
    ScoredSystem,
    det_limits,
    det_points,
    to_deviate,
)
from report_axes import LEFT, TOP, WIDTH, Axes, choose_ticks
from report_html import Html

NUM_BINS = 60
LETTER_WIDTH = 14  # px


def draw_det(system: ScoredSystem, eer_percent: float) -> Html:
    """DET curve on normal-deviate axes, its equal error rate marked.

    Arguments
    ---------
    system : ScoredSystem
        Scores and truths.
    eer_percent : float
        Of these.

    Returns
    -------
    chart : Html
        SVG.
    """
    limits = det_limits([system])
    low, high = (float(to_deviate(np.array(limit))) for limit in limits)
    axes = Axes(WIDTH, (low, high), (low, high))
    ticks = {
        float(to_deviate(np.array(tick))): f"{tick:g}"
        for tick in DET_TICKS
        if limits[0] <= tick <= limits[1]
    }
    axes.frame(ticks, ticks, "False alarm rate (%)", "Miss rate (%)")
    axes.line(LEFT, axes.bottom, axes.right, TOP, "uniform")
    rates = det_points(system.scores, system.is_target)
    x, y = (np.clip(to_deviate(rate), low, high) for rate in rates)
    # Clipped points would run along the frame: of those, the last are kept.
    inside = (x > low) & (x < high) & (y > low) & (y < high)
    near = inside | np.roll(inside, 1) | np.roll(inside, -1)
    points = [
        (axes.x(a), axes.y(b)) for a, b in zip(x[near], y[near], strict=True)
    ]
    if points:
        axes.path(points, "curve")
    at_eer = float(to_deviate(np.array(eer_percent)))
    if low <= at_eer <= high:
        place = axes.x(at_eer), axes.y(at_eer)
        axes.marks.append(
            f'<circle cx="{place[0]}" cy="{place[1]}" r="5" class="point"/>'
        )
        x, y, anchor = place[0] + 10, place[1] - 8, "start"
        if place[0] > WIDTH - 120:
            x, y, anchor = place[0] - 10, place[1] + 18, "end"
        axes.text(x, y, f"EER {eer_percent:.2f} %", anchor, "label")
    return axes.svg(
        "DET curve",
        "Miss rate against false alarm rate as the threshold varies, on "
        f"normal-deviate axes; both are {eer_percent:.2f} % at the marked "
        "point.",
    )


def draw_scores(
    scores: np.ndarray,
    is_target: np.ndarray,
    thresholds: dict[str, float],
    scoring: str,
) -> Html:
    """Histograms of target and non-target trials, with thresholds.

    Arguments
    ---------
    scores : np.ndarray
        (trials,).
    is_target : np.ndarray
        (trials,) bool.
    thresholds : dict[str, float]
        By the letter that marks each.
    scoring : str
        What the scores are.

    Returns
    -------
    chart : Html
        SVG.
    """
    edges = np.histogram_bin_edges(scores, NUM_BINS)
    parts = {}
    for kind, chosen in (("nontarget", ~is_target), ("target", is_target)):
        counts, _ = np.histogram(scores[chosen], edges)
        parts[kind] = 100 * counts / counts.sum()
    shown = [edges[0], edges[-1], *thresholds.values()]
    x_limits = (float(min(shown)), float(max(shown)))
    highest = max(part.max() for part in parts.values())
    axes = Axes(280, x_limits, (0.0, 1.22 * float(highest)))
    axes.frame(
        choose_ticks(*axes.x_limits),
        choose_ticks(0.0, float(highest)),
        f"Score ({scoring})",
        "Trials of each kind (%)",
    )
    for kind, part in parts.items():
        outline = [(axes.x(edges[0]), axes.y(0))]
        for (left, right), value in zip(pairwise(edges), part, strict=True):
            outline += [(axes.x(left), axes.y(value))]
            outline += [(axes.x(right), axes.y(value))]
        outline.append((axes.x(edges[-1]), axes.y(0)))
        axes.path(outline, f"area {kind}")
    last = -np.inf
    raised = 0
    by_place = sorted(thresholds.items(), key=lambda item: item[1])
    for letter, value in by_place:
        x = axes.x(value)
        raised = raised + 1 if x - last < LETTER_WIDTH else 0
        last = x
        top = TOP + 12 + 12 * (raised % 3)
        axes.line(x, top, x, axes.bottom, "threshold")
        axes.text(x, top - 3, letter, kind="label")
    return axes.svg(
        "Score histograms",
        f"Scores of non-target trials around {scores[~is_target].mean():.3f} "
        f"and of target trials around {scores[is_target].mean():.3f}, with "
        "the thresholds of the table.",
    )


def draw_blocks(rates: dict) -> Html:
    """Equal error rate of every block, and of the whole model.

    Arguments
    ---------
    rates : dict
        Of `block_rates.measure_model_blocks`.

    Returns
    -------
    chart : Html
        SVG.
    """
    families = {"statistics": rates["statistics"], "heads": rates["heads"]}
    points = [point for family in families.values() for point in family]
    final = rates["final"]["eer_percent"]
    highest = max(
        [final, *(point["eer_interval_percent"][1] for point in points)]
    )
    blocks = sorted({point["block"] for point in points})
    axes = Axes(
        260,
        (blocks[0] - 0.4, blocks[-1] + 0.4),
        (0.0, max(1.05 * highest, 0.1)),
    )
    axes.frame(
        {float(block): str(block) for block in blocks},
        choose_ticks(*axes.y_limits),
        "Block",
        "EER (%)",
    )
    axes.line(LEFT, axes.y(final), axes.right, axes.y(final), "final")
    for shift, (kind, family) in zip((-4, 4), families.items(), strict=True):
        places = []
        for point in family:
            x = axes.x(point["block"]) + shift
            low, high = point["eer_interval_percent"]
            axes.line(x, axes.y(low), x, axes.y(high), f"whisker {kind}")
            places.append((x, axes.y(point["eer_percent"])))
        if places:
            axes.path(places, f"series {kind}")
        for x, y in places:
            mark = (
                f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" '
                if kind == "statistics"
                else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" '
            )
            axes.marks.append(f'{mark}class="mark {kind}"/>')
    return axes.svg(
        "Equal error rate of every block",
        f"One mark for each block, from {blocks[0]} to {blocks[-1]}, with its "
        f"interval; the whole model, {final:.2f} %, is the dotted line. The "
        "table has the figures.",
    )


def draw_interval(value: float, low: float, high: float, most: float) -> Html:
    """A figure within its interval on a line that starts at 0.

    Arguments
    ---------
    value, low, high : float
        The figure and its interval.
    most : float
        At the line's end.

    Returns
    -------
    chart : Html
        SVG; the text beside it says the same.
    """
    x, x1, x2 = (
        round(3 + 114 * min(part / most, 1.0), 1) for part in (value, low, high)
    )
    return Html(
        '<svg class="interval" viewBox="0 0 120 12" aria-hidden="true">'
        '<line x1="3" y1="6" x2="117" y2="6" class="grid"/>'
        f'<line x1="{x1}" y1="6" x2="{x2}" y2="6" class="range"/>'
        f'<circle cx="{x}" cy="6" r="4" class="point"/></svg>'
    )
