"""The front end: its frames, and its numbers in the plain order."""

import pytest
import torch

from custom_modules.subsampling import ConvolutionalSubsampling

N_MELS = 7
FLOAT64 = 1e-10


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("subsampling", [2, 4])
def test_subsampling_counts_its_frames(subsampling):
    """By the convolutions themselves, over time and over frequency."""
    for size in range(7, 61):
        front_end = ConvolutionalSubsampling(size, 2, subsampling, channels=1)
        feats = torch.zeros(1, size, size)
        x = front_end.convolutions(feats.unsqueeze(1))
        count = front_end.num_frames(size)
        assert x.shape[2:] == (count, count)
        assert front_end(feats).shape[1] == count
        assert front_end.num_frames(torch.tensor([size])).item() == count


@pytest.mark.parametrize("subsampling", [2, 4])
@torch.no_grad()
def test_a_subsampled_frame_depends_on_its_own_frames_alone(subsampling):
    """Frame t on the 7 from subsampling · t on."""
    front_end = ConvolutionalSubsampling(N_MELS, 4, subsampling, channels=4)
    feats = torch.randn(1, 40, N_MELS)
    x = front_end(feats)
    for t in range(x.shape[1]):
        start = subsampling * t
        one = front_end(feats[:, start : start + 7])
        torch.testing.assert_close(one[0, 0], x[0, t])


@pytest.mark.parametrize("subsampling", [2, 4, 8])
def test_bands_and_channels_are_in_the_order_of_the_weights(subsampling):
    """Outputs and gradients of convolutions, then the linear layer as it is:
    channel after channel, each with its bands."""
    front_end = ConvolutionalSubsampling(20, 4, subsampling, channels=3)
    front_end.double()
    feats = torch.randn(2, 50, 20, dtype=torch.float64)
    x = front_end.convolutions(feats.unsqueeze(1))
    expected = front_end.linear(x.transpose(1, 2).flatten(2))
    cotangent = torch.randn_like(expected)
    parameters = list(front_end.parameters())
    gradients = torch.autograd.grad(expected, parameters, cotangent)
    y = front_end(feats)
    torch.testing.assert_close(y, expected, atol=FLOAT64, rtol=0.0)
    for one, other in zip(
        torch.autograd.grad(y, parameters, cotangent), gradients, strict=True
    ):
        torch.testing.assert_close(one, other, atol=FLOAT64, rtol=0.0)
