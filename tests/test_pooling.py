"""Poolings against published numbers, plain loops and SpeechBrain."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from speechbrain.lobes.models import ECAPA_TDNN

from custom_modules.lengths import relative_lengths
from custom_modules.pooling import (
    AttentiveStatisticsPooling,
    DoubleMultiHeadAttentionPooling,
    SelfMultiHeadAttentionPooling,
    StatisticsPooling,
    TemporalAveragePooling,
)

GOLDEN = Path(__file__).parent / "data" / "mha_pooling.npz"
GOLDEN_TOLERANCE = 1e-6  # float64
PADDING_TOLERANCE = 1e-4  # float32
EXACT = 1e-12  # float64
SIZE = 12
POOLINGS = {
    "average": lambda: TemporalAveragePooling(SIZE),
    "statistics": lambda: StatisticsPooling(SIZE),
    "attentive": lambda: AttentiveStatisticsPooling(SIZE, 16),
    "attentive_local": lambda: AttentiveStatisticsPooling(
        SIZE, 16, global_context=False
    ),
    "self_mha": lambda: SelfMultiHeadAttentionPooling(SIZE, 3),
    "double_mha": lambda: DoubleMultiHeadAttentionPooling(SIZE, 3, 0.5),
}


@pytest.fixture(params=POOLINGS)
def pooling(request):
    torch.manual_seed(0)
    return POOLINGS[request.param]()


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as numbers:
        return {name: torch.from_numpy(numbers[name]) for name in numbers}


def set_golden_queries(module, golden):
    """Set the authors' queries, so that scaled scores are theirs.

    Their code divides scores by the root of its number of heads, ours by
    that of the head size: scaled queries take up the quotient.
    """
    num_heads, head_size = golden["queries"].shape
    quotient = math.sqrt(head_size / num_heads) if module.scale != 1 else 1.0
    module.double().queries.data = quotient * golden["queries"]


def softmax(scores):
    exps = [math.exp(score - max(scores)) for score in scores]
    return [e / sum(exps) for e in exps]


def dot(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True))


def weighted_sum(weights, vectors):
    return [dot(weights, channel) for channel in zip(*vectors, strict=True)]


def slow_self_mha(frames, queries, scale):
    """One utterance by plain loops: frames and queries are nested lists."""
    size = len(queries[0])
    context = []
    for j, query in enumerate(queries):
        parts = [frame[j * size : (j + 1) * size] for frame in frames]
        weights = softmax([scale * dot(query, part) for part in parts])
        context.append(weighted_sum(weights, parts))
    return context


# Published numbers and slow oracles


@pytest.mark.parametrize(("scaled", "prefix"), [(False, ""), (True, "scaled_")])
def test_self_mha_gives_the_authors_numbers(golden, scaled, prefix):
    """Scaled ones up to the divisor, see `set_golden_queries`."""
    num_heads, head_size = golden["queries"].shape
    module = SelfMultiHeadAttentionPooling(
        num_heads * head_size, num_heads, scaled
    )
    set_golden_queries(module, golden)
    torch.testing.assert_close(
        module(golden["frames"]),
        golden[f"{prefix}pooled"],
        atol=GOLDEN_TOLERANCE,
        rtol=0,
    )
    torch.testing.assert_close(
        module.attention_weights(golden["frames"]),
        golden[f"{prefix}weights"],
        atol=GOLDEN_TOLERANCE,
        rtol=0,
    )


def test_double_mha_gives_the_authors_numbers(golden):
    """Up to the divisor, see `set_golden_queries`."""
    num_heads, head_size = golden["queries"].shape
    module = DoubleMultiHeadAttentionPooling(num_heads * head_size, num_heads)
    set_golden_queries(module.utterance_attention, golden)
    module.head_query.data = golden["head_query"]
    torch.testing.assert_close(
        module(golden["frames"]),
        golden["scaled_double_pooled"],
        atol=GOLDEN_TOLERANCE,
        rtol=0,
    )


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("num_heads", [1, 3, SIZE])
def test_mha_poolings_equal_plain_loops(num_heads, scaled):
    torch.manual_seed(1)
    double = DoubleMultiHeadAttentionPooling(SIZE, num_heads, scaled=scaled)
    double.double()
    counts = [7, 4, 1]
    x = torch.randn(3, 7, SIZE, dtype=torch.float64)
    lengths = relative_lengths(torch.tensor(counts))
    queries = double.utterance_attention.queries.tolist()
    scale = (SIZE // num_heads) ** -0.5 if scaled else 1.0
    contexts = [
        slow_self_mha(utterance[:count].tolist(), queries, scale)
        for utterance, count in zip(x, counts, strict=True)
    ]
    head_query = double.head_query.tolist()
    expected = [
        weighted_sum(softmax([dot(head_query, c) for c in context]), context)
        for context in contexts
    ]
    torch.testing.assert_close(
        double.utterance_attention(x, lengths),
        torch.tensor(contexts, dtype=torch.float64).flatten(1),
        atol=EXACT,
        rtol=0,
    )
    torch.testing.assert_close(
        double(x, lengths),
        torch.tensor(expected, dtype=torch.float64),
        atol=EXACT,
        rtol=0,
    )


def test_one_head_is_vanilla_attention():
    torch.manual_seed(2)
    module = SelfMultiHeadAttentionPooling(SIZE, 1)
    x = torch.randn(4, 9, SIZE)
    weights = torch.softmax(x @ module.queries[0], dim=1)
    expected = (weights.unsqueeze(1) @ x).squeeze(1)
    torch.testing.assert_close(module(x), expected)


def test_double_mha_of_one_head_is_self_mha_of_one_head():
    torch.manual_seed(3)
    double = DoubleMultiHeadAttentionPooling(SIZE, 1, head_dropout=0.9)
    x = torch.randn(4, 9, SIZE)
    torch.testing.assert_close(double(x), double.utterance_attention(x))


def test_average_and_statistics_are_torch_mean_and_population_std():
    torch.manual_seed(4)
    x = torch.randn(3, 8, SIZE)
    lengths = relative_lengths(torch.tensor([8, 5, 2]))
    for i, count in enumerate([8, 5, 2]):
        frames = x[i, :count]
        mean = frames.mean(dim=0)
        std = frames.std(dim=0, correction=0)
        torch.testing.assert_close(
            TemporalAveragePooling(SIZE)(x, lengths)[i], mean
        )
        torch.testing.assert_close(
            StatisticsPooling(SIZE)(x, lengths)[i], torch.cat([mean, std])
        )


# SpeechBrain's attentive statistics pooling


def both_attentive(global_context):
    """Ours and SpeechBrain's, built from the same seed."""
    torch.manual_seed(5)
    ours = AttentiveStatisticsPooling(SIZE, 16, global_context)
    torch.manual_seed(5)
    theirs = ECAPA_TDNN.AttentiveStatisticsPooling(SIZE, 16, global_context)
    return ours, theirs


@pytest.mark.parametrize("global_context", [True, False])
def test_attentive_statistics_starts_as_speechbrains(global_context):
    ours, theirs = both_attentive(global_context)
    pairs = zip(
        ours.state_dict().values(), theirs.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("global_context", [True, False])
def test_attentive_statistics_equals_speechbrains_on_full_utterances(
    global_context, training
):
    ours, theirs = both_attentive(global_context)
    ours.train(training)
    theirs.train(training)
    x = torch.randn(4, 9, SIZE)
    expected = theirs(x.transpose(1, 2)).squeeze(2)
    torch.testing.assert_close(ours(x), expected)
    pairs = zip(ours.buffers(), theirs.buffers(), strict=True)
    for buffer, expected in pairs:
        torch.testing.assert_close(buffer, expected)


def test_attentive_weights_give_the_pooled_mean_and_deviation():
    """The same weights by hand; padding has none."""
    pooling = POOLINGS["attentive"]().eval()
    x = torch.randn(2, 9, SIZE)
    lengths = relative_lengths(torch.tensor([9, 5]))
    weights = pooling.attention_weights(x, lengths)
    assert (weights[1, 5:] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, SIZE))
    mean = (weights * x).sum(dim=1)
    square = (weights * x.square()).sum(dim=1)
    expected = torch.cat([mean, (square - mean.square()).sqrt()], dim=1)
    torch.testing.assert_close(
        pooling(x, lengths), expected, atol=1e-5, rtol=1e-4
    )


def test_attentive_statistics_equals_speechbrains_on_padded_ones_in_eval():
    ours, theirs = both_attentive(global_context=True)
    ours.eval()
    theirs.eval()
    x = torch.randn(4, 9, SIZE)
    lengths = relative_lengths(torch.tensor([9, 6, 3, 1]))
    expected = theirs(x.transpose(1, 2), lengths).squeeze(2)
    torch.testing.assert_close(ours(x, lengths), expected)


@pytest.mark.parametrize("global_context", [True, False])
def test_padding_does_not_enter_the_batch_norm_in_training(global_context):
    """Twenty more frames of garbage change neither output nor statistics."""
    counts = torch.tensor([9, 6, 3])
    torch.manual_seed(6)
    x = torch.randn(3, 9, SIZE)
    longer = torch.cat([x, torch.full((3, 20, SIZE), math.nan)], dim=1)
    short, _ = both_attentive(global_context)
    long, _ = both_attentive(global_context)
    torch.testing.assert_close(
        long(longer, (counts - 0.5) / 29), short(x, relative_lengths(counts))
    )
    for a, b in zip(long.buffers(), short.buffers(), strict=True):
        torch.testing.assert_close(a, b)


# Invariances of every pooling


def test_an_utterance_alone_equals_itself_padded_in_a_batch(pooling):
    """200 random pairs of lengths, padded with NaN."""
    pooling.eval()
    generator = torch.Generator().manual_seed(7)
    for _ in range(200):
        counts = torch.randint(1, 60, (2,), generator=generator)
        time = int(counts.max())
        x = torch.randn(2, time, SIZE, generator=generator)
        alone = [pooling(u[None, :n]) for u, n in zip(x, counts, strict=True)]
        for utterance, count in zip(x, counts, strict=True):
            utterance[count:] = math.nan
        torch.testing.assert_close(
            pooling(x, relative_lengths(counts)),
            torch.cat(alone),
            atol=PADDING_TOLERANCE,
            rtol=0,
        )


@pytest.mark.parametrize("garbage", [7.0, math.inf, math.nan])
def test_garbage_in_padding_reaches_no_output_and_no_gradient(pooling, garbage):
    pooling.eval()
    results = []
    for padding in (0.0, garbage):
        torch.manual_seed(8)
        x = torch.randn(2, 6, SIZE)
        x[1, 4:] = padding
        x.requires_grad_()
        pooling.zero_grad()
        y = pooling(x, relative_lengths(torch.tensor([6, 4])))
        (y * torch.randn_like(y)).sum().backward()
        assert torch.all(x.grad[1, 4:] == 0)
        results.append(
            [y, x.grad, *(p.grad.clone() for p in pooling.parameters())]
        )
    for a, b in zip(*results, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


def test_order_of_frames_does_not_matter(pooling):
    pooling.eval()
    torch.manual_seed(9)
    x = torch.randn(3, 11, SIZE)
    torch.testing.assert_close(
        pooling(x[:, torch.randperm(11)]), pooling(x), atol=1e-5, rtol=0
    )


def test_repeating_every_frame_does_not_matter(pooling):
    pooling.eval()
    torch.manual_seed(10)
    x = torch.randn(3, 5, SIZE)
    torch.testing.assert_close(
        pooling(x.repeat(1, 3, 1)), pooling(x), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("time", [1, 2, 7])
def test_output_size_is_the_width_of_the_output(pooling, batch, time):
    pooling.eval()
    y = pooling(torch.randn(batch, time, SIZE))
    assert y.shape == (batch, pooling.output_size)
    assert torch.isfinite(y).all()


def test_one_frame_is_its_own_average():
    x = torch.randn(2, 1, SIZE)
    for name in ("average", "statistics", "attentive", "self_mha"):
        module = POOLINGS[name]().eval()
        torch.testing.assert_close(module(x)[:, :SIZE], x[:, 0])


def test_gradients_reach_every_parameter(pooling):
    pooling.head_dropout = 0.0
    torch.manual_seed(11)
    y = pooling(torch.randn(3, 7, SIZE), torch.tensor([1.0, 0.5, 0.9]))
    if y.requires_grad:
        (y * torch.randn_like(y)).sum().backward()
    for name, parameter in pooling.named_parameters():
        if name == "conv.conv.bias":
            continue  # a softmax over time cannot see a constant
        assert torch.any(parameter.grad.abs() > 1e-6), name


def test_gradient_is_exact(pooling):
    """Against finite differences, padding included."""
    pooling.double().eval()
    torch.manual_seed(12)
    x = torch.randn(2, 4, SIZE, dtype=torch.float64, requires_grad=True)
    lengths = relative_lengths(torch.tensor([4, 2]))
    assert torch.autograd.gradcheck(lambda x: pooling(x, lengths), (x,))


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.0])
def test_constant_input_has_a_finite_gradient(pooling, value):
    x = torch.full((2, 7, SIZE), value, requires_grad=True)
    pooling(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_half_precision_frames_are_pooled_in_float32(pooling):
    """As they leave an encoder under autocast; 1e4 squared is no float16."""
    pooling.eval()
    torch.manual_seed(13)
    x = 1e4 * torch.rand(2, 6, SIZE).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = pooling(x)
    assert y.dtype == torch.float32
    if not isinstance(pooling, AttentiveStatisticsPooling):
        # SpeechBrain's attention network alone follows autocast.
        torch.testing.assert_close(y, pooling(x.float()))


# Attention weights and head dropout


@pytest.mark.parametrize("scaled", [False, True])
def test_weights_sum_to_one_over_time_and_are_zero_on_padding(scaled):
    torch.manual_seed(14)
    module = SelfMultiHeadAttentionPooling(SIZE, 3, scaled)
    x = torch.randn(3, 8, SIZE)
    x[1, 5:] = math.nan
    lengths = relative_lengths(torch.tensor([8, 5, 1]))
    weights = module.attention_weights(x, lengths)
    assert weights.shape == (3, 8, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 3))
    assert torch.all(weights[1, 5:] == 0)
    assert torch.all(weights[2, 1:] == 0)
    assert torch.all(weights[1, :5] > 0)


def heads_kept(head_dropout, batch=4000, num_heads=4):
    """Which heads each utterance kept, by frames that spell the heads."""
    torch.manual_seed(15)
    size = num_heads**2
    module = DoubleMultiHeadAttentionPooling(size, num_heads, head_dropout)
    x = torch.eye(num_heads).reshape(1, 1, size).expand(batch, 3, size)
    return module, x, module(x) > 0


@pytest.mark.parametrize("head_dropout", [0.2, 0.5])
def test_head_dropout_drops_heads_at_its_rate(head_dropout):
    _, _, kept = heads_kept(head_dropout)
    # The head that stays where all would go: p^heads / heads of each.
    rate = head_dropout - head_dropout**4 / 4
    assert abs((~kept).float().mean() - rate) < 0.02


def test_head_dropout_never_drops_all_heads():
    module, x, kept = heads_kept(head_dropout=0.99)
    assert kept.any(dim=1).all()
    assert kept.any(dim=0).all()
    assert torch.isfinite(module(x)).all()


def test_head_dropout_shares_the_weight_among_the_kept_heads():
    module, x, _ = heads_kept(head_dropout=0.5)
    torch.testing.assert_close(module(x).sum(dim=1), torch.ones(len(x)))


def test_head_dropout_rests_in_eval():
    module, x, _ = heads_kept(head_dropout=0.5)
    kept = module.eval()(x) > 0
    assert kept.all()


# Errors


@pytest.mark.parametrize(
    "pooling_class",
    [SelfMultiHeadAttentionPooling, DoubleMultiHeadAttentionPooling],
)
@pytest.mark.parametrize(
    ("input_size", "num_heads", "message"),
    [
        (10, 3, r"num_heads \(3\) must divide input_size \(10\)"),
        (10, 0, r"num_heads \(0\) must be at least 1"),
        (0, 1, r"input_size \(0\) must be at least 1"),
    ],
)
def test_heads_that_do_not_fit_are_an_error(
    pooling_class, input_size, num_heads, message
):
    with pytest.raises(ValueError, match=message):
        pooling_class(input_size, num_heads)


@pytest.mark.parametrize(
    "pooling_class",
    [TemporalAveragePooling, StatisticsPooling, AttentiveStatisticsPooling],
)
def test_an_input_size_below_one_is_an_error(pooling_class):
    with pytest.raises(ValueError, match=r"input_size \(-1\) must be at least"):
        pooling_class(-1)


def test_attention_channels_below_one_are_an_error():
    with pytest.raises(ValueError, match=r"attention_channels \(0\) must be"):
        AttentiveStatisticsPooling(SIZE, 0)


@pytest.mark.parametrize("head_dropout", [-0.1, 1.0, math.nan])
def test_a_head_dropout_outside_its_range_is_an_error(head_dropout):
    with pytest.raises(ValueError, match=r"head_dropout .* must be in \[0, 1"):
        DoubleMultiHeadAttentionPooling(SIZE, 3, head_dropout)
