"""Figures of what a model does inside; reads no files."""

import numpy as np
from attention_maps import AttentionMap
from figures import COLOURS, GRID, LINES, MARKERS, STYLE
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_HEADS = 6  # as in the paper's figure 4
HERTZ_TICKS = (250, 500, 1000, 2000, 4000, 8000)
HEAD_GREY = "0.6"  # light enough for a dotted line on it


@rc_context(STYLE)
def draw_attention(
    attention_map: AttentionMap, single: AttentionMap | None, title: str
) -> Figure:
    """Draw attention weights over the spectrogram that they weigh.

    Figure 4 of https://arxiv.org/abs/1906.09890: the first six heads, one
    panel each, with one scale; then the average of all heads, against the
    weights of a model with one head; then the spectrogram. A dotted line is
    uniform attention.

    Arguments
    ---------
    attention_map : AttentionMap
        Of a model with any number of heads.
    single : AttentionMap | None
        Of a model with one head, on the same utterance.
    title : str
        Of the figure.

    Returns
    -------
    figure : Figure
        To be written by `figures.save_figure`.

    Raises
    ------
    ValueError
        Where `single` has more heads, or frames of another length, whose
        weights do not compare.
    """
    edges, weights = attention_map.frame_edges, attention_map.weights
    if single is not None:
        heads = single.weights.shape[1]
        if heads != 1 or len(single.weights) != len(weights):
            raise ValueError(
                f"the model given as single has {heads} heads and "
                f"{len(single.weights)} frames of this utterance, the other "
                f"{len(weights)} frames: give one with one head, whose encoder "
                "subsamples alike"
            )
    shown = weights[:, :MAX_HEADS]
    num_heads = shown.shape[1]
    figure = Figure(figsize=(7.0, 3.9 + 0.5 * num_heads), layout="constrained")
    # The second column is the spectrogram's scale.
    grid = figure.add_gridspec(
        num_heads + 2,
        2,
        height_ratios=[1.0] * num_heads + [2.2, 3.4],
        width_ratios=[1.0, 0.02],
    )
    bottom = figure.add_subplot(grid[-1, 0])
    rows = [
        figure.add_subplot(grid[row, 0], sharex=bottom)
        for row in range(num_heads + 1)
    ]
    for number, axes in enumerate(rows[:-1], start=1):
        _fill_weights(axes, edges, shown[:, number - 1], HEAD_GREY)
        axes.set_ylim(0, 1.05 * shown.max())
        axes.set_ylabel(f"head {number}", rotation=0, ha="right", va="center")
    average = weights.mean(axis=1)
    label = f"average of {weights.shape[1]} heads"
    _fill_weights(rows[-1], edges, average, "0.75", label)
    highest = average.max()
    if single is not None:
        alone = single.weights[:, 0]
        highest = max(highest, alone.max())
        rows[-1].stairs(
            alone,
            edges,
            color=COLOURS[1],
            linestyle=LINES[1],
            linewidth=1.3,
            baseline=None,
            label="model with a single head",
        )
    rows[-1].set_ylim(0, 1.45 * highest)
    rows[-1].set_ylabel("weight")
    for axes in rows:
        axes.axhline(
            1 / len(weights), color="black", lw=0.8, ls=":", label="uniform"
        )
        axes.tick_params(labelbottom=False)
    rows[-1].legend(loc="upper right", ncols=3, frameon=False)
    rows[0].set_title(title)
    image = _show_spectrogram(bottom, attention_map)
    scale = figure.colorbar(image, cax=figure.add_subplot(grid[-1, 1]))
    scale.set_label("Log-mel energy (dB)")
    figure.align_ylabels([rows[-1], bottom])
    return figure


def _fill_weights(
    axes: Axes,
    edges: np.ndarray,
    weights: np.ndarray,
    colour: str,
    label: str | None = None,
) -> None:
    axes.stairs(weights, edges, fill=True, color=colour, label=label)
    axes.tick_params(axis="y", labelsize=7)
    axes.locator_params(axis="y", nbins=2)


def _show_spectrogram(axes: Axes, attention_map: AttentionMap):
    """Log-mel bands of one height each, their centres' Hz at the side."""
    feats, centres = attention_map.feats, attention_map.band_centres
    image = axes.imshow(
        feats.T,
        cmap="gray_r",
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, attention_map.frame_edges[-1], -0.5, len(centres) - 0.5),
    )
    ticks = [hz for hz in HERTZ_TICKS if centres[0] <= hz <= centres[-1]]
    bands = np.interp(ticks, centres, np.arange(len(centres)))
    axes.set_yticks(bands, [f"{hz:,}" for hz in ticks])
    axes.set(xlabel="Time (s)", ylabel="Mel bands (Hz)")
    return image


@rc_context(STYLE)
def draw_blocks(rates: dict, title: str) -> Figure:
    """Draw the EER of every block's own embedding against depth.

    Arguments
    ---------
    rates : dict
        As `block_rates.measure_trainings` gives it: of each of "models" its
        label, statistics, heads, final.
    title : str
        Of the figure.

    Returns
    -------
    figure : Figure
        To be written by `figures.save_figure`.
    """
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    models = rates["models"]
    deepest = max(
        point["block"] for model in models for point in model["statistics"]
    )
    count = sum(1 + bool(model["heads"]) for model in models)
    shifts = iter(np.linspace(-0.12, 0.12, count) if count > 1 else [0.0])
    for place, model in enumerate(models):
        for family, name, line, face in (
            ("statistics", "mean and deviation", "-", None),
            ("heads", "trained block heads", "--", "white"),
        ):
            points = model[family]
            if not points:
                continue
            shift = next(shifts)
            style = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": MARKERS[place % len(MARKERS)],
                "markersize": 6,
                "capsize": 2.5,
                "elinewidth": 0.9,
                "markeredgewidth": 1.2,
            }
            _bars(
                axes,
                [point["block"] + shift for point in points],
                points,
                linestyle=line,
                markerfacecolor=face or style["color"],
                label=f"{model['label']}: {name}",
                **style,
            )
            if family == "statistics":
                _bars(
                    axes,
                    [deepest + 1.2 + shift],
                    [model["final"]],
                    linestyle="none",
                    fillstyle="left",
                    markerfacecoloralt="white",
                    **style,
                )
    ticks = range(1, deepest + 1)
    axes.set_xticks(
        [*ticks, deepest + 1.2], [*map(str, ticks), "final\nembedding"]
    )
    axes.axvline(deepest + 0.6, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(
        title=title,
        xlabel="Block, from the input",
        ylabel="EER (%), bars: 95 % over speakers",
        xlim=(0.6, deepest + 1.6),
    )
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", **GRID)
    axes.set_axisbelow(True)
    axes.legend(framealpha=1.0, handlelength=3.5)
    return figure


def _bars(axes: Axes, x: list[float], points: list[dict], **style) -> None:
    """EERs with their intervals; one that lies outside has no bar there."""
    eers = np.array([point["eer_percent"] for point in points])
    low, high = np.array([point["eer_interval_percent"] for point in points]).T
    below, above = np.maximum(eers - low, 0), np.maximum(high - eers, 0)
    axes.errorbar(x, eers, yerr=[below, above], **style)
