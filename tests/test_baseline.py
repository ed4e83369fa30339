"""The untrained baseline is mean and deviation, whatever the padding."""

import torch

from custom_modules.baseline import FeatureEncoder, Unnormalised
from custom_modules.heads import SpeakerEmbedder
from custom_modules.lengths import relative_lengths
from custom_modules.pooling import StatisticsPooling


def test_the_embedding_is_mean_and_deviation_of_the_valid_features():
    embedder = SpeakerEmbedder(FeatureEncoder(3), StatisticsPooling(3))
    feats = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    feats[1, 5:] = torch.nan
    lengths = relative_lengths(torch.tensor([9, 5]))
    embeddings = embedder(Unnormalised()(feats, lengths), lengths)
    valid = [feats[0], feats[1, :5]]
    for embedding, one in zip(embeddings, valid, strict=True):
        expected = torch.cat([one.mean(0), one.std(0, correction=0)])
        torch.testing.assert_close(embedding[0], expected)
