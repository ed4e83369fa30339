"""Attention weights over a spectrogram, in a few kilobytes."""

import base64
import io
from typing import NamedTuple

import numpy as np
from attention_maps import AttentionMap
from PIL import Image
from report_html import Html, element

MAX_COLUMNS = 240
MAX_ROWS = 40
NUM_LEVELS = 16
RANGE = 60.0  # dB below the loudest that are shown
WIDTH, HEIGHT, LABELS = 320, 96, 18  # px of the picture, and for seconds below
# Darkest to lightest: a line in orange stands out from all of them.
DARK, LIGHT = np.array([18, 24, 38]), np.array([188, 205, 214])


def shrink(array: np.ndarray, size: int) -> np.ndarray:
    """Average neighbours along the first axis, down to a size at most.

    Example
    -------
    >>> shrink(np.array([1.0, 3.0, 5.0, 7.0]), 2)
    array([2., 6.])
    >>> shrink(np.array([1.0, 3.0]), 5)
    array([1., 3.])
    """
    if len(array) <= size:
        return array
    starts = np.linspace(0, len(array), size, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, len(array)))
    sums = np.add.reduceat(array, starts, axis=0)
    return (sums.T / counts).T


def encode_spectrogram(feats: np.ndarray) -> bytes:
    """A spectrogram as a PNG of 16 colours.

    Arguments
    ---------
    feats : np.ndarray
        (frames, n_mels) in dB.

    Returns
    -------
    png : bytes
        At most 240 by 40 pixels, low frequencies below.

    Example
    -------
    >>> png = encode_spectrogram(np.zeros((600, 80)))
    >>> Image.open(io.BytesIO(png)).size
    (240, 40)
    """
    bands = shrink(shrink(feats, MAX_COLUMNS).T, MAX_ROWS)[::-1]
    loudness = np.clip((bands - bands.max()) / RANGE + 1, 0, 1)
    levels = np.round((NUM_LEVELS - 1) * loudness).astype(np.uint8)
    image = Image.fromarray(levels)
    steps = np.linspace(0, 1, NUM_LEVELS)[:, None]
    image.putpalette((DARK + steps * (LIGHT - DARK)).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class AttentionCurve(NamedTuple):
    """What a picture of attention needs.

    Arguments
    ---------
    png : bytes
        The spectrogram.
    relative : np.ndarray
        (points,) over the utterance: weights, the mean over heads, as
        multiples of uniform attention.
    peak : float
        The highest of all frames.
    num_heads : int
        Of the pooling.
    seconds : float
        The utterance's.
    """

    png: bytes
    relative: np.ndarray
    peak: float
    num_heads: int
    seconds: float


def summarise_attention(attention_map: AttentionMap) -> AttentionCurve:
    """Keep what is drawn of an utterance's attention.

    Example
    -------
    >>> weights = np.array([[0.2, 0.2], [0.6, 0.8], [0.2, 0.0]])
    >>> edges = 0.04 * np.arange(4)
    >>> found = AttentionMap(weights, edges, np.zeros((12, 80)), np.zeros(80))
    >>> summarise_attention(found).relative.round(2)
    array([0.6, 2.1, 0.3])
    """
    weights = attention_map.weights
    relative = weights.mean(axis=1) * len(weights)
    return AttentionCurve(
        encode_spectrogram(attention_map.feats),
        shrink(relative, MAX_COLUMNS),
        float(relative.max()),
        weights.shape[1],
        float(attention_map.frame_edges[-1]),
    )


def draw_attention(curve: AttentionCurve, utt_id: str, played: float) -> Html:
    """Attention on the spectrogram that it weighs.

    Arguments
    ---------
    curve : AttentionCurve
        Of the whole utterance.
    utt_id : str
        Its name.
    played : float
        s of it that the page plays: the rest is marked.

    Returns
    -------
    picture : Html
        A figure: SVG with a caption.

    Example
    -------
    >>> curve = AttentionCurve(b"", np.ones(4), 1.0, num_heads=1, seconds=8.0)
    >>> picture = draw_attention(curve, "<a>", played=6.0)
    >>> "Attention weights of &lt;a&gt;" in picture, "not played" in picture
    (True, True)
    """
    relative, seconds = curve.relative, curve.seconds
    highest = max(1.15 * float(relative.max()), 1.5)

    def y(value: float) -> float:
        return round(HEIGHT - HEIGHT * value / highest, 1)

    x = (np.arange(len(relative)) + 0.5) * WIDTH / len(relative)
    points = " ".join(
        f"{left:.1f},{y(value):.1f}"
        for left, value in zip(x, relative, strict=True)
    )
    png = base64.b64encode(curve.png).decode()
    marks = [
        f'<image width="{WIDTH}" height="{HEIGHT}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{png}"/>',
        f'<line x1="0" x2="{WIDTH}" y1="{y(1)}" y2="{y(1)}" class="even"/>',
        f'<polyline points="{points}" class="casing"/>',
        f'<polyline points="{points}" class="weight"/>',
    ]
    if played < seconds:
        end = round(WIDTH * played / seconds, 1)
        marks.append(
            f'<line x1="{end}" x2="{end}" y1="0" y2="{HEIGHT}" class="end"/>'
        )
    steps = (s for s in (0.5, 1, 2, 5, 10, 20, 60, 600) if seconds / s <= 8)
    for value in np.arange(0, seconds, next(steps, 3600)):
        at = round(WIDTH * value / seconds, 1)
        if at > WIDTH - 12:
            continue
        marks.append(
            element(
                "text",
                f"{value:g} s" if value else "0",
                x=at,
                y=HEIGHT + 13,
                text_anchor="middle" if value else "start",
            )
        )
    latest = x[int(relative.argmax())] / WIDTH * seconds
    svg = Html(
        f'<svg class="attention" role="img" viewBox="0 0 {WIDTH} '
        f'{HEIGHT + LABELS}">'
        f"{element('title', f'Attention weights of {utt_id}')}"
        f"{element('desc', f'Highest at {latest:.1f} of {seconds:.1f} s.')}"
        f"{''.join(marks)}</svg>"
    )
    heads = "1 head" if curve.num_heads == 1 else f"{curve.num_heads:,} heads"
    ending = " Right of the vertical line: not played." * (played < seconds)
    caption = (
        f"Orange: weight, the mean of {heads}; dotted: uniform; at most "
        f"{curve.peak:.1f} times that.{ending}"
    )
    return element("figure", svg, element("figcaption", caption))
