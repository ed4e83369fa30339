"""Heads by hand, and which parameters a block's loss reaches."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from modules_for_tests import randomise

from custom_modules.conformer import MFAConformer
from custom_modules.distributed import SynchronizedBatchNorm
from custom_modules.heads import (
    BlockHeads,
    DenseHead,
    EmbeddingHead,
    SpeakerEmbedder,
)
from custom_modules.lengths import relative_lengths
from custom_modules.losses import SupConLoss
from custom_modules.pooling import (
    AttentiveStatisticsPooling,
    StatisticsPooling,
    TemporalAveragePooling,
)

FLOAT64 = 1e-10
SIZES = [8, 8, 8]
COUNTS = [10, 7, 1]

head = partial(EmbeddingHead, emb_dim=5, pooling=AttentiveStatisticsPooling)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def frames(size):
    lengths = relative_lengths(torch.tensor(COUNTS))
    return torch.randn(3, 10, size, dtype=torch.float64), lengths


def normalise(batch_norm, x):
    deviation = (batch_norm.running_var + batch_norm.eps).sqrt()
    x = (x - batch_norm.running_mean) / deviation
    return batch_norm.weight * x + batch_norm.bias


def affine(layer, x):
    return x @ layer.weight.T + layer.bias


def count_parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@torch.no_grad()
def test_embedding_head_is_norm_pooling_batch_norm_projection():
    module = randomise(EmbeddingHead(8, 5, StatisticsPooling)).double()
    x, lengths = frames(8)
    embeddings = module(x, lengths)
    for i, count in enumerate(COUNTS):
        y = x[i, :count]
        deviation = (y.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        y = (y - y.mean(1, keepdim=True)) / deviation
        y = module.norm.weight * y + module.norm.bias
        std = y.std(0, correction=0).clamp(min=1e-6)
        pooled = torch.cat([y.mean(0), std])
        expected = affine(
            module.projection, normalise(module.batch_norm, pooled)
        )
        torch.testing.assert_close(
            embeddings[i], expected, atol=FLOAT64, rtol=0.0
        )


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@torch.no_grad()
def test_dense_head_ends_in_a_plain_linear_layer(num_layers):
    module = DenseHead(8, 5, TemporalAveragePooling, num_layers, dropout=0.5)
    module = randomise(module).double()
    linear = [m for m in module.layers if isinstance(m, torch.nn.Linear)]
    norms = [m for m in module.layers if isinstance(m, SynchronizedBatchNorm)]
    assert len(linear) == num_layers
    assert len(norms) == num_layers - 1
    x, lengths = frames(8)
    y = torch.stack([x[i, :n].mean(0) for i, n in enumerate(COUNTS)])
    for layer, norm in zip(linear, norms, strict=False):
        y = normalise(norm, affine(layer, y)).clamp(min=0.0)
    expected = affine(linear[-1], y)
    torch.testing.assert_close(
        module(x, lengths), expected, atol=FLOAT64, rtol=0.0
    )
    assert (expected < 0).any()  # no ReLU on the embedding


def test_dense_head_drops_parts_of_the_embedding_in_training():
    """The dropout before the classifier."""
    module = DenseHead(8, 100, TemporalAveragePooling, 1, dropout=0.25)
    share = (module(torch.randn(50, 4, 8)) == 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.05)


def test_a_dense_head_without_layers_is_refused():
    with pytest.raises(ValueError, match=r"num_layers \(0\) must be at least"):
        DenseHead(8, 5, TemporalAveragePooling, 0)


@pytest.mark.parametrize(
    ("blocks", "chosen"), [(None, [0, 1, 2]), ([], []), ([2, 0], [2, 0])]
)
def test_block_heads_embed_the_chosen_blocks_in_their_order(blocks, chosen):
    module = randomise(BlockHeads(SIZES, head, blocks)).double()
    outputs = [frames(8)[0] for _ in SIZES]
    lengths = frames(8)[1]
    embeddings = module(outputs, lengths)
    assert len(embeddings) == len(module.heads) == len(chosen)
    for i, block in enumerate(chosen):
        expected = module.heads[i](outputs[block], lengths)
        assert torch.equal(embeddings[i], expected)


def test_block_heads_take_blocks_of_different_sizes():
    module = BlockHeads([4, 6], head)
    embeddings = module([torch.randn(3, 9, 4), torch.randn(3, 9, 6)])
    assert [tuple(e.shape) for e in embeddings] == [(3, 5), (3, 5)]


@pytest.mark.parametrize("blocks", [[3], [-1], [0, 0]])
def test_blocks_that_the_encoder_has_not_are_refused(blocks):
    with pytest.raises(ValueError, match="different numbers from 0 to 2"):
        BlockHeads(SIZES, head, blocks)


@pytest.mark.parametrize("part", ["pooling", "projection"])
def test_heads_of_different_sizes_cannot_share(part):
    with pytest.raises(ValueError, match=r"input sizes \(\[4, 6\]\) cannot"):
        BlockHeads([4, 6], head, **{f"share_{part}": True})


@pytest.mark.parametrize("share_pooling", [False, True])
@pytest.mark.parametrize("share_projection", [False, True])
def test_shared_parts_are_one_and_norms_are_each_blocks_own(
    share_pooling, share_projection
):
    module = BlockHeads(
        SIZES,
        head,
        share_pooling=share_pooling,
        share_projection=share_projection,
    )
    first, *others = module.heads
    for other in others:
        assert (other.pooling is first.pooling) == share_pooling
        assert (other.projection is first.projection) == share_projection
        assert other.norm is not first.norm
        assert other.batch_norm is not first.batch_norm
    saved = 2 * share_pooling * count_parameters(first.pooling)
    saved += 2 * share_projection * count_parameters(first.projection)
    assert count_parameters(module) == 3 * count_parameters(head(8)) - saved


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_blocks_loss_reaches_its_head_and_no_later_block(block):
    encoder = MFAConformer(
        7, d_model=8, num_blocks=3, num_heads=2, d_ffn=8, kernel_size=3
    )
    block_heads = BlockHeads(encoder.output_sizes, head)
    outputs, _ = encoder(torch.randn(6, 30, 7))
    embeddings = block_heads(outputs)[block]
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    SupConLoss(0.07)(embeddings, labels).backward()

    def is_reached(module):
        gradients = [p.grad for p in module.parameters()]
        reached = {gradient is not None for gradient in gradients}
        assert len(reached) == 1  # all of it or nothing
        return reached.pop() and any(g.any() for g in gradients)

    assert is_reached(encoder.subsampling)
    for i in range(3):
        assert is_reached(encoder.blocks[i]) == (i <= block)
        assert is_reached(block_heads.heads[i]) == (i == block)


@torch.no_grad()
def test_speaker_embedder_is_the_head_on_all_outputs():
    encoder = MFAConformer(7, d_model=8, num_blocks=3, num_heads=2, d_ffn=8)
    embedder = randomise(SpeakerEmbedder(encoder, head(24)))
    feats, lengths = (
        torch.randn(2, 30, 7),
        relative_lengths(torch.tensor([30, 21])),
    )
    outputs, output_lengths = encoder(feats, lengths)
    expected = embedder.embedding_head(
        torch.cat(outputs, dim=2), output_lengths
    )
    assert torch.equal(embedder(feats, lengths), expected.unsqueeze(1))
    # SpeechBrain's use: cosine of (batch, 1, emb_dim) along the last
    similarity = F.cosine_similarity(*embedder(feats, lengths), dim=-1)
    assert similarity.shape == (1,)
