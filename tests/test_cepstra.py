"""Cepstra of an utterance do not depend on its batch."""

import pytest
import torch
from speechbrain.lobes.features import MFCC
from speechbrain.processing.features import Deltas

from custom_modules.cepstra import VoicedCepstra
from custom_modules.vad import EnergyVAD

ROUNDING = 1e-3  # of normalised features in float32


@pytest.fixture
def features():
    return VoicedCepstra(
        MFCC(deltas=False, context=False, n_mfcc=5),
        Deltas(input_size=5),
        EnergyVAD(16000),
    )


def noise(num_samples, seed):
    generator = torch.Generator().manual_seed(seed)
    wav = 0.1 * torch.randn(num_samples, generator=generator)
    wav[num_samples // 2 : num_samples // 2 + 1600] *= 1e-3
    return wav


def test_padding_has_no_influence(features):
    wavs = [noise(n, seed=n) for n in (8000, 5333, 4001)]
    batch = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    lens = torch.tensor([len(wav) / 8000 for wav in wavs])
    feats, voiced = features(batch, lens)
    for i, wav in enumerate(wavs):
        alone, is_voiced = features(wav[None], torch.ones(1))
        count = alone.shape[1]
        assert torch.equal(voiced[i, :count], is_voiced[0])
        assert not voiced[i, count:].any()
        torch.testing.assert_close(
            feats[i, :count], alone[0], atol=ROUNDING, rtol=0
        )


def test_one_utterance_has_speechbrains_cepstra_and_deltas(features):
    wav = noise(8000, seed=0)[None]
    feats, voiced = features(wav, torch.ones(1))
    expected = MFCC(context=False, n_mfcc=5)(wav)
    kept = expected[voiced]
    expected = (expected - kept.mean(0)) / kept.std(0, correction=0)
    torch.testing.assert_close(feats, expected, atol=ROUNDING, rtol=0)


def test_voiced_frames_have_mean_0_and_variance_1(features):
    wavs = torch.stack([noise(8000, seed=1), noise(8000, seed=2)])
    feats, voiced = features(wavs, torch.ones(2))
    assert 0 < voiced.sum() < voiced.numel()
    for rows, mask in zip(feats, voiced, strict=True):
        kept = rows[mask]
        torch.testing.assert_close(
            kept.mean(0), torch.zeros(15), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            kept.var(0, correction=0), torch.ones(15), atol=1e-4, rtol=0
        )


def test_silence_gives_finite_features_and_an_empty_mask(features):
    wavs = torch.stack([noise(8000, seed=1), torch.zeros(8000)])
    feats, voiced = features(wavs, torch.ones(2))
    assert feats.isfinite().all()
    assert voiced[0].any()
    assert not voiced[1].any()
