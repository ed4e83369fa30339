"""Dropout's mask: how often, how large, from which generator."""

import pytest
import torch

from custom_modules.dropout import Dropout

NUMBERS = 1_000_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_numbers_are_dropped_at_the_rate_and_the_others_raised(p, dtype):
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(NUMBERS, dtype=dtype))
    deviation = (p * (1 - p) / NUMBERS) ** 0.5
    rate = (y == 0).double().mean().item()
    assert abs(rate - p) < 5 * deviation
    kept = torch.tensor(1 / (1 - p)).to(dtype)
    assert set(y.unique().tolist()) == {0.0, kept.item()}


def test_the_gradient_is_the_mask():
    x = torch.randn(100, 7, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x * x.grad, y)


def test_the_mask_is_drawn_from_torchs_generator():
    """So what the checkpoint's random state restores is all of it."""
    dropout, x, masks = Dropout(0.5), torch.ones(1000), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_evaluation_and_a_rate_of_zero_or_one_draw_nothing():
    x, state = torch.randn(10), torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    assert torch.equal(torch.get_rng_state(), state)
