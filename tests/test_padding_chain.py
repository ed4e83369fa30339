"""Waveform to embedding, alone and padded: features, norm, encoder, head."""

from functools import partial

import pytest
import torch
from modules_for_tests import randomise
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.data_utils import batch_pad_right

from custom_modules.conformer import MFAConformer
from custom_modules.heads import EmbeddingHead
from custom_modules.lengths import feature_lengths
from custom_modules.pooling import (
    AttentiveStatisticsPooling,
    DoubleMultiHeadAttentionPooling,
    SelfMultiHeadAttentionPooling,
    StatisticsPooling,
    TemporalAveragePooling,
)

PADDING = 1e-4
BATCHES, BATCH_SIZE = 20, 10  # 200 pairs of a length and its batch's
POOLINGS = {
    "average": TemporalAveragePooling,
    "statistics": StatisticsPooling,
    "attentive": AttentiveStatisticsPooling,
    "multi-head": partial(SelfMultiHeadAttentionPooling, num_heads=4),
    "double": partial(DoubleMultiHeadAttentionPooling, num_heads=4),
}


@pytest.fixture(scope="module")
def features():
    """Batches: features, lengths, and the features of each one alone."""
    torch.manual_seed(0)
    fbank = Fbank(n_mels=80).eval()
    norm = InputNormalization(norm_type="sentence", std_norm=False).eval()

    def extract(wavs, lens):
        lengths = feature_lengths(lens, wavs, fbank.compute_STFT.hop_length)
        return norm(fbank(wavs), lengths), lengths

    batches = []
    for _ in range(BATCHES):
        samples = torch.randint(3200, 24000, (BATCH_SIZE,)).tolist()
        wavs = [0.1 * torch.randn(n) for n in samples]
        alone = [extract(w.unsqueeze(0), torch.ones(1))[0] for w in wavs]
        batches.append((*extract(*batch_pad_right(wavs)), alone))
    return batches


@pytest.fixture(scope="module", params=[2, 4])
def encoded(request, features):
    """Batches: encoder outputs, lengths, and the outputs of each alone."""
    torch.manual_seed(1)
    encoder = randomise(
        MFAConformer(
            d_model=16,
            num_blocks=2,
            d_ffn=32,
            subsampling=request.param,
            subsampling_channels=4,
        )
    )

    def encode(feats, lengths=None):
        outputs, lengths = encoder(feats, lengths)
        return torch.cat(outputs, dim=-1), lengths

    with torch.no_grad():
        return [
            (*encode(feats, lengths), [encode(one)[0] for one in alone])
            for feats, lengths, alone in features
        ]


@pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS.keys())
@torch.no_grad()
def test_padding_does_not_change_an_embedding(encoded, pooling):
    torch.manual_seed(2)
    head = randomise(EmbeddingHead(32, 12, pooling), 0.1)
    for x, lengths, alone in encoded:
        expected = torch.cat([head(one) for one in alone])
        torch.testing.assert_close(
            head(x, lengths), expected, atol=PADDING, rtol=0.0
        )


def test_padding_does_not_change_normalised_features(features):
    for feats, _, alone in features:
        for padded, one in zip(feats, alone, strict=True):
            torch.testing.assert_close(
                padded[: one.shape[1]], one[0], atol=PADDING, rtol=0.0
            )
