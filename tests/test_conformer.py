"""The encoder against loops, by hand, and alone against padded."""

import math

import pytest
import torch
import torch.nn.functional as F
from modules_for_tests import randomise

from custom_modules.attention import relative_positions
from custom_modules.conformer import (
    ConformerBlock,
    ConvolutionModule,
    MFAConformer,
)
from custom_modules.heads import BlockHeads, EmbeddingHead
from custom_modules.lengths import frame_counts, relative_lengths
from custom_modules.pooling import AttentiveStatisticsPooling

FLOAT32 = 1e-5
FLOAT64 = 1e-10
PADDING = 1e-4  # between an utterance alone and padded

GARBAGE = [0.0, 1e4, math.nan, math.inf]
N_MELS = 7


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def tiny(num_blocks=2, subsampling=2, **kwargs):
    settings = {
        "n_mels": N_MELS,
        "d_model": 8,
        "num_heads": 2,
        "d_ffn": 8,
        "kernel_size": 5,
        "subsampling_channels": 2,
        **kwargs,
    }
    encoder = MFAConformer(
        num_blocks=num_blocks, subsampling=subsampling, **settings
    )
    return randomise(encoder)


@torch.no_grad()
def test_convolution_module_is_gate_depthwise_norm_swish_pointwise():
    module = randomise(ConvolutionModule(4, kernel_size=3)).double()
    x = torch.randn(1, 5, 4, dtype=torch.float64)
    value, gate = module.gate(x[0]).chunk(2, dim=1)
    gated = value / (1 + torch.exp(-gate))
    convolved = torch.empty_like(gated)
    for t in range(5):
        convolved[t] = module.depthwise.bias
        for k, s in enumerate((t - 1, t, t + 1)):
            if 0 <= s < 5:
                convolved[t] += module.depthwise.weight[:, 0, k] * gated[s]
    normed = F.layer_norm(convolved, (4,), module.norm.weight, module.norm.bias)
    expected = module.pointwise(normed * torch.sigmoid(normed))
    torch.testing.assert_close(module(x)[0], expected, atol=FLOAT64, rtol=0.0)


@pytest.mark.parametrize("garbage", GARBAGE)
@torch.no_grad()
def test_convolution_leaks_padding_only_without_the_mask(garbage):
    """Zeros leak too: the gate has a bias."""
    module = randomise(ConvolutionModule(4, kernel_size=5))
    x = torch.randn(1, 9, 4)
    alone = module(x[:, :6])
    x[:, 6:] = garbage
    masked = module(x, (torch.arange(9) < 6).unsqueeze(0))[:, :6]
    torch.testing.assert_close(masked, alone, atol=FLOAT32, rtol=0.0)
    leaked = module(x)[:, :6]
    torch.testing.assert_close(leaked[:, :4], alone[:, :4])
    assert not torch.allclose(leaked[:, 4:], alone[:, 4:], atol=100 * FLOAT32)


@torch.no_grad()
def test_block_is_equation_1_of_the_conformer_paper():
    """Half a feed-forward, attention, convolution, half, layer norm."""
    block = randomise(ConformerBlock(8, 2, d_ffn=12, kernel_size=3))
    x, positions = torch.randn(2, 6, 8), relative_positions(6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [4]])

    def norm(layer, y):
        return F.layer_norm(y, (8,), layer.weight, layer.bias)

    def ffn(layers, y):
        hidden = norm(layers[0], y) @ layers[1].weight.T + layers[1].bias
        hidden = hidden * torch.sigmoid(hidden)
        return hidden @ layers[4].weight.T + layers[4].bias

    a = x + ffn(block.first_ffn, x) / 2
    b = a + block.attention(norm(block.attention_norm, a), positions, mask)
    c = b + block.convolution(norm(block.convolution_norm, b), mask)
    expected = norm(block.norm, c + ffn(block.second_ffn, c) / 2)
    y = block(x, positions, mask)
    torch.testing.assert_close(y, expected, atol=FLOAT32, rtol=0.0)


@pytest.mark.parametrize("subsampling", [2, 4])
@torch.no_grad()
def test_padding_has_no_influence_on_any_block(subsampling):
    """200 pairs of an utterance's length and its batch's."""
    encoder = tiny(subsampling=subsampling)
    for garbage, longest in zip(
        5 * GARBAGE, torch.randint(8, 100, (20,)).tolist(), strict=True
    ):
        counts = torch.randint(7, longest + 1, (10,))
        counts[0] = longest
        feats = torch.randn(10, longest, N_MELS)
        for i, count in enumerate(counts):
            feats[i, count:] = garbage
        outputs, lengths = encoder(feats, relative_lengths(counts))
        given = frame_counts(lengths, outputs[0]).tolist()
        for i, count in enumerate(counts):
            alone, none = encoder(feats[i : i + 1, :count])
            assert none is None
            assert given[i] == alone[0].shape[1]
            for padded, expected in zip(outputs, alone, strict=True):
                torch.testing.assert_close(
                    padded[i, : given[i]], expected[0], atol=PADDING, rtol=0.0
                )


@pytest.mark.parametrize("num_blocks", [1, 2, 7])
@torch.no_grad()
def test_output_i_is_that_of_block_i(num_blocks):
    """Changing block i leaves the outputs before it, and no other."""
    encoder = tiny(num_blocks)
    feats = torch.randn(2, 20, N_MELS)
    before, _ = encoder(feats)
    assert len(before) == len(encoder.output_sizes) == num_blocks
    for i in reversed(range(num_blocks)):
        randomise(encoder.blocks[i])
        after, _ = encoder(feats)
        for j, (a, b) in enumerate(zip(before, after, strict=True)):
            assert torch.equal(a, b) == (j < i)


def test_gradients_reach_every_parameter_and_are_finite():
    """With NaN in the padding."""
    encoder = tiny(num_blocks=3).train()
    feats = torch.randn(2, 30, N_MELS)
    feats[1, 20:] = math.nan
    outputs, lengths = encoder(feats, relative_lengths(torch.tensor([30, 20])))
    count = frame_counts(lengths, outputs[0])[1]
    loss = sum(
        (y[:, :count] * torch.randn_like(y[:, :count])).sum() for y in outputs
    )
    loss.backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(("subsampling", "enough"), [(2, 3), (4, 7)])
def test_too_few_frames_are_an_error(subsampling, enough):
    encoder = tiny(subsampling=subsampling)
    outputs, _ = encoder(torch.randn(1, enough, N_MELS))
    assert outputs[0].shape[1] == 1
    message = f"the shortest sequence has {enough - 1} feature frames, too few"
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(1, enough - 1, N_MELS))
    lengths = relative_lengths(torch.tensor([20, enough - 1]))
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(2, 20, N_MELS), lengths)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_blocks": 0}, r"num_blocks \(0\) must be at least 1"),
        ({"d_model": 15}, r"d_model \(15\) must be even"),
        ({"num_heads": 3}, r"num_heads \(3\) must divide d_model \(8\)"),
        ({"kernel_size": 4}, r"kernel_size \(4\) must be odd"),
        ({"subsampling": 3}, r"subsampling \(3\) must be 2, 4 or 8"),
        ({"n_mels": 2}, r"n_mels \(2\) leaves no band.*at least 3"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_the_default_has_the_published_size():
    """Of 19 to 22 M parameters for verification; block heads are extra."""
    with torch.device("meta"):
        encoder = MFAConformer()
        embedding_head = EmbeddingHead(
            sum(encoder.output_sizes), 192, AttentiveStatisticsPooling
        )
        block_heads = BlockHeads(
            encoder.output_sizes,
            lambda size: EmbeddingHead(size, 192, AttentiveStatisticsPooling),
        )

    def millions(*modules):
        return sum(p.numel() for m in modules for p in m.parameters()) / 1e6

    assert 19 < millions(encoder, embedding_head) < 22
    assert millions(block_heads) < 2
