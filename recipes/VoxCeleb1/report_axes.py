"""Axes of an inline SVG, coloured by the style of the page around it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator
from report_html import Html, element

WIDTH = 360  # px, of a phone; a wider page shows charts larger
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 42  # margins of the axes
LABEL_GAP = 24  # px between labels of an axis
STEP = 0.4  # px between points of a curve


class Axes:
    """Rectangle with two scales, on which marks gather.

    Arguments
    ---------
    height : int
        px of the chart, with margins.
    x_limits, y_limits : tuple[float, float]
        Data at the edges.

    Example
    -------
    >>> axes = Axes(256, (0.0, 1.0), (0.0, 10.0))
    >>> axes.x(0.0), axes.y(0.0), axes.y(10.0)
    (46.0, 214.0, 14.0)
    """

    def __init__(
        self,
        height: int,
        x_limits: tuple[float, float],
        y_limits: tuple[float, float],
    ):
        self.height = height
        self.x_limits, self.y_limits = x_limits, y_limits
        self.right, self.bottom = WIDTH - RIGHT, height - BOTTOM
        self.marks: list[str] = []

    def x(self, value: float) -> float:
        """px of a value on the horizontal axis."""
        low, high = self.x_limits
        part = (value - low) / (high - low)
        return round(LEFT + part * (self.right - LEFT), 1)

    def y(self, value: float) -> float:
        """px of a value on the vertical axis."""
        low, high = self.y_limits
        part = (value - low) / (high - low)
        return round(self.bottom - part * (self.bottom - TOP), 1)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str):
        """A straight line, in px."""
        self.marks.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "middle",
        kind: str = "tick",
    ):
        """Text, in px."""
        self.marks.append(
            element("text", text, x=x, y=y, text_anchor=anchor, class_=kind)
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str):
        """A line through points in px; those too near to see are left out."""
        kept = [points[0]]
        for point in points[1:-1]:
            x, y = kept[-1]
            if max(abs(point[0] - x), abs(point[1] - y)) > STEP:
                kept.append(point)
        kept.append(points[-1])
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)
        self.marks.append(f'<polyline points="{shown}" class="{kind}"/>')

    def frame(
        self,
        x_ticks: dict[float, str],
        y_ticks: dict[float, str],
        x_label: str,
        y_label: str,
    ):
        """Grid, ticks and names of both axes."""
        last = -np.inf
        for value, label in sorted(x_ticks.items()):
            x = self.x(value)
            self.line(x, TOP, x, self.bottom, "grid")
            if x - last >= LABEL_GAP:
                self.text(x, self.bottom + 15, label)
                last = x
        last = np.inf
        for value, label in sorted(y_ticks.items()):
            y = self.y(value)
            self.line(LEFT, y, self.right, y, "grid")
            if last - y >= LABEL_GAP / 2:
                self.text(LEFT - 5, y + 4, label, "end")
                last = y
        middle = (LEFT + self.right) / 2
        self.text(middle, self.height - 6, x_label)
        self.marks.append(
            '<text text-anchor="middle" transform="translate(11 '
            f'{(TOP + self.bottom) / 2}) rotate(-90)">{y_label}</text>'
        )

    def svg(self, title: str, description: str) -> Html:
        """The chart, with what it says in words."""
        return Html(
            f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} '
            f'{self.height}">{element("title", title)}'
            f"{element('desc', description)}{''.join(self.marks)}</svg>"
        )


def choose_ticks(low: float, high: float) -> dict[float, str]:
    """About six round values from low to high, and what they are called.

    Example
    -------
    >>> choose_ticks(0.0, 1.0)
    {0.0: '0', 0.2: '0.2', 0.4: '0.4', 0.6: '0.6', 0.8: '0.8', 1.0: '1'}
    """
    values = MaxNLocator(6).tick_values(low, high)
    inside = [round(float(v), 9) for v in values if low <= v <= high]
    return {value: f"{value:.6g}" for value in inside}
