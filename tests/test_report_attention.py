"""Pictures of attention: small, to scale, and true to what they show."""

import io
import re

import numpy as np
import pytest
from attention_maps import AttentionMap
from PIL import Image
from report_attention import (
    MAX_COLUMNS,
    WIDTH,
    draw_attention,
    encode_spectrogram,
    shrink,
    summarise_attention,
)


def attend(num_frames, peak, num_heads=4, step=0.04):
    """Uniform attention but for one frame, which each head weighs ten times."""
    weights = np.ones((num_frames, num_heads))
    weights[peak] = 10
    weights /= weights.sum(axis=0)
    rng = np.random.default_rng(0)
    feats = rng.normal(-40, 15, (4 * num_frames, 80))
    edges = step * np.arange(num_frames + 1)
    return AttentionMap(weights, edges, feats, np.linspace(50, 7900, 80))


@pytest.mark.parametrize("size", [1, 3, 7, 240])
def test_shrinking_keeps_the_mean_of_equal_parts(size):
    array = np.random.default_rng(0).normal(size=(480 * 7, 3))
    shrunk = shrink(array, size)
    assert len(shrunk) == size
    if len(array) % size == 0:
        parts = array.reshape(size, -1, 3).mean(axis=1)
        np.testing.assert_allclose(shrunk, parts)


def test_the_curve_is_highest_where_the_attention_is():
    curve = summarise_attention(attend(150, peak=120))
    picture = draw_attention(curve, "a/s/1", played=6.0)
    (points,) = re.findall(r'points="([^"]+)" class="weight"', picture)
    pairs = np.array([p.split(",") for p in points.split()], float)
    highest = pairs[pairs[:, 1].argmin(), 0]
    assert highest == pytest.approx(WIDTH * 120.5 / 150, abs=0.1)
    assert curve.seconds == pytest.approx(6.0)
    assert curve.peak == pytest.approx(1500 / 159)
    assert "4 heads" in picture
    assert "9.4 times" in picture
    assert "Highest at 4.8 of 6.0 s." in picture


def test_what_is_not_played_is_marked_where_the_player_ends():
    curve = summarise_attention(attend(250, peak=3))
    picture = draw_attention(curve, "a/s/1", played=4.0)
    (place,) = re.findall(
        r'x1="([\d.]+)" x2="[\d.]+" y1="0"[^>]+"end"', picture
    )
    assert float(place) == pytest.approx(WIDTH * 0.4)
    assert "not played" in picture
    assert "not played" not in draw_attention(curve, "a/s/1", played=10.0)


def test_loud_bands_are_light_and_low_ones_below():
    feats = np.full((60, 80), -60.0)
    feats[30:, :20] = 0.0  # later, and low
    image = Image.open(io.BytesIO(encode_spectrogram(feats))).convert("L")
    pixels = np.asarray(image, float)
    assert pixels.shape == (40, 60)
    assert pixels[30:, 30:].min() > 150 > 50 > pixels[:30].max()
    assert pixels[30:, :30].max() < 50


@pytest.mark.parametrize("seconds", [0.1, 2, 145])
def test_a_picture_takes_little_whatever_its_length(seconds):
    frames = max(1, round(25 * seconds))
    curve = summarise_attention(attend(frames, peak=0))
    assert len(curve.relative) <= MAX_COLUMNS
    picture = draw_attention(curve, "a/s/1", played=6.0)
    assert len(picture) < 20_000
