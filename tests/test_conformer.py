"""The encoder against loops, by hand, and alone against padded."""

import math

import pytest
import torch
import torch.nn.functional as F
from speechbrain.nnet.attention import RelPosMHAXL

from custom_modules.conformer import (
    ConformerBlock,
    ConvolutionalSubsampling,
    ConvolutionModule,
    MFAConformer,
    RelativePositionAttention,
    relative_positions,
)
from custom_modules.heads import BlockHeads, EmbeddingHead
from custom_modules.lengths import frame_counts, relative_lengths
from custom_modules.pooling import AttentiveStatisticsPooling

FLOAT32 = 1e-5
FLOAT64 = 1e-10
SINUSOIDS = 1e-5  # they are float32, whatever attends to them
PADDING = 1e-4  # between an utterance alone and padded

GARBAGE = [0.0, 1e4, math.nan, math.inf]
N_MELS = 7


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@torch.no_grad()
def randomise(module):
    """Move all parameters: what starts at 0 or 1 hides errors."""
    for parameter in module.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


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


@pytest.mark.parametrize("subsampling", [2, 4])
def test_seven_frames_are_enough_and_six_are_an_error(subsampling):
    encoder = tiny(subsampling=subsampling)
    outputs, _ = encoder(torch.randn(1, 7, N_MELS))
    assert outputs[0].shape[1] == 1
    message = "the shortest sequence has 6 feature frames, too few"
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(1, 6, N_MELS))
    lengths = relative_lengths(torch.tensor([20, 6]))
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(2, 20, N_MELS), lengths)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_blocks": 0}, r"num_blocks \(0\) must be at least 1"),
        ({"d_model": 15}, r"d_model \(15\) must be even"),
        ({"num_heads": 3}, r"num_heads \(3\) must divide d_model \(8\)"),
        ({"kernel_size": 4}, r"kernel_size \(4\) must be odd"),
        ({"subsampling": 3}, r"subsampling \(3\) must be 2 or 4"),
        ({"n_mels": 6}, r"n_mels \(6\) must be at least 7"),
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
