"""The CNN against a loop of its equations, alone and padded."""

import pytest
import torch
import torch.nn.functional as F
from modules_for_tests import randomise

from custom_modules.lengths import frame_counts, relative_lengths
from custom_modules.vgg import VGGEncoder

PADDING = 1e-5


def encoder():
    torch.manual_seed(0)
    return randomise(VGGEncoder(n_mels=16, channels=(3, 4, 5)))


def test_the_paper_s_sizes():
    """N frames of 128 bands become N/8 of 8192."""
    with torch.device("meta"):
        model = VGGEncoder()
        (frames,), lengths = model(torch.zeros(2, 300, 128))
    assert frames.shape == (2, 37, 8192)
    assert model.output_sizes == [8192]
    assert lengths is None
    weights = [p.shape for p in model.parameters() if p.dim() == 4]
    sizes = [1, 128, 128, 256, 256, 512, 512]
    assert weights == [
        (sizes[i + 1], sizes[i], 3, 3) for i in range(len(sizes) - 1)
    ]


def test_it_equals_convolutions_and_maxima_one_at_a_time():
    """Each value by its own sum over the window, and the largest of four."""
    model = encoder().double()
    feats = torch.randn(1, 16, 16, dtype=torch.float64)
    x = feats.unsqueeze(1)
    for block in model.blocks:
        for layer in block.convolutions:
            padded = F.pad(x, (1, 1, 1, 1))
            _, _, time, bands = x.shape
            y = torch.empty(1, len(layer.weight), time, bands).double()
            for t in range(time):
                for band in range(bands):
                    window = padded[0, :, t : t + 3, band : band + 3]
                    y[0, :, t, band] = layer.bias + torch.einsum(
                        "ocij,cij->o", layer.weight, window
                    )
            x = y.clamp(min=0)
        quarters = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        x = torch.stack(quarters).amax(dim=0)
    (frames,), _ = model(feats)
    for t in range(frames.shape[1]):
        expected = torch.cat([x[0, channel, t] for channel in range(5)])
        torch.testing.assert_close(frames[0, t], expected)


@pytest.mark.parametrize("longest", [40, 41, 47, 48])
@torch.no_grad()
def test_padding_has_no_influence(longest):
    model = encoder()
    counts = torch.tensor([longest, 8, 9, 15, 16, 17, 31, 39])
    feats = torch.randn(len(counts), longest, 16)
    (alone,) = zip(
        *[
            model(feats[i : i + 1, :n])[0]
            for i, n in enumerate(counts.tolist())
        ],
        strict=True,
    )
    for i, n in enumerate(counts.tolist()):
        feats[i, n:] = torch.nan
    (frames,), lengths = model(feats, relative_lengths(counts))
    assert frame_counts(lengths, frames).tolist() == (counts // 8).tolist()
    for i, expected in enumerate(alone):
        torch.testing.assert_close(
            frames[i, : expected.shape[1]],
            expected[0],
            atol=PADDING,
            rtol=0.0,
        )


def test_the_padding_gets_no_gradient():
    feats = torch.randn(2, 24, 16, requires_grad=True)
    (frames,), lengths = encoder()(
        feats, relative_lengths(torch.tensor([24, 13]))
    )
    frames[1, : frame_counts(lengths, frames)[1]].sum().backward()
    assert feats.grad[1, :8].abs().sum() > 0
    assert feats.grad[1, 13:].abs().max() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mels": 20}, r"n_mels \(20\) must be a multiple of 8"),
        ({"channels": ()}, r"channels \(\[\]\) must be positive"),
        ({"channels": (8, 0, 8)}, "must be positive"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VGGEncoder(**settings)


def test_too_short_an_utterance_is_refused():
    lengths = relative_lengths(torch.tensor([20, 7]))
    with pytest.raises(ValueError, match="7 feature frames, too few: 8"):
        encoder()(torch.randn(2, 20, 16), lengths)
    with pytest.raises(ValueError, match="7 feature frames"):
        encoder()(torch.randn(1, 7, 16))
