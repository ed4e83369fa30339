"""Attention against loops and against SpeechBrain's."""

import math

import pytest
import torch
from modules_for_tests import randomise
from speechbrain.nnet.attention import RelPosMHAXL

from custom_modules.attention import (
    RelativePositionAttention,
    relative_positions,
)

FLOAT32 = 1e-5
SINUSOIDS = 1e-5  # they are float32, whatever attends to them


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def slow_attention(attention, x, mask):
    """Section 3.3 of arXiv 1901.02860: a loop over queries and keys."""
    time, d_model = x.shape
    size = d_model // attention.num_heads
    projected = attention.query_key_value(x)
    pooled = torch.zeros_like(x)
    for h in range(attention.num_heads):
        part = slice(h * size, (h + 1) * size)
        query, key, value = (y[:, part] for y in projected.split(d_model, 1))
        u, v = attention.content_bias[h, 0], attention.position_bias[h, 0]
        for i in range(time):
            scores = torch.full((time,), -math.inf, dtype=x.dtype)
            for j in range(time):
                angles = [
                    (i - j) / 10000 ** (2 * k / d_model)
                    for k in range(d_model // 2)
                ]
                pairs = [f(a) for a in angles for f in (math.sin, math.cos)]
                r = attention.position(torch.tensor(pairs, dtype=x.dtype))
                if mask[j]:
                    score = (query[i] + u) @ key[j] + (query[i] + v) @ r[part]
                    scores[j] = score / math.sqrt(size)
            pooled[i, part] = scores.softmax(0) @ value
    return attention.output(pooled)


def test_relative_positions_run_from_the_past_to_the_future():
    rows = relative_positions(2, 4)
    s, c = math.sin, math.cos
    expected = [
        [s(1), c(1), s(0.01), c(0.01)],
        [0.0, 1.0, 0.0, 1.0],
        [-s(1), c(1), -s(0.01), c(0.01)],
    ]
    torch.testing.assert_close(rows, torch.tensor(expected))


@pytest.mark.parametrize("time", [1, 2, 7])
@torch.no_grad()
def test_attention_is_its_formula(time):
    attention = randomise(RelativePositionAttention(8, num_heads=2)).double()
    x = torch.randn(3, time, 8, dtype=torch.float64)
    counts = torch.tensor([time, max(1, time - 3), 1])
    mask = torch.arange(time) < counts.unsqueeze(1)
    positions = relative_positions(time, 8).double()
    y = attention(x, positions, mask)
    for i, count in enumerate(counts):
        expected = slow_attention(attention, x[i], mask[i])
        torch.testing.assert_close(
            y[i, :count], expected[:count], atol=SINUSOIDS, rtol=0.0
        )
    torch.testing.assert_close(y[:1], attention(x[:1], positions))


@torch.no_grad()
def test_attention_agrees_with_speechbrains():
    """Which has no biases, divides by √d_model and keeps heads together."""
    time, d_model, heads = 6, 8, 2
    ours = randomise(RelativePositionAttention(d_model, heads))
    ours.query_key_value.bias.zero_()
    theirs = RelPosMHAXL(d_model, heads)
    theirs.scale = 1 / math.sqrt(d_model // heads)
    weight = ours.query_key_value.weight.unflatten(0, (3, heads, -1))
    theirs.in_proj_weight.copy_(weight.transpose(0, 1).flatten(0, 2))
    theirs.linear_pos.load_state_dict(ours.position.state_dict())
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    theirs.pos_bias_u.view(-1).copy_(ours.content_bias.flatten())
    theirs.pos_bias_v.view(-1).copy_(ours.position_bias.flatten())
    x, positions = torch.randn(2, time, d_model), relative_positions(time, 8)
    mask = torch.arange(time) < torch.tensor([[time], [4]])
    y = ours(x, positions, mask)
    expected, _ = theirs(
        x, x, x, positions.unsqueeze(0), key_padding_mask=~mask
    )
    torch.testing.assert_close(y, expected, atol=FLOAT32, rtol=0.0)
