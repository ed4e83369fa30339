"""Relative lengths give back the frame counts they were made of."""

import pytest
import torch

from custom_modules.lengths import (
    feature_lengths,
    frame_counts,
    relative_lengths,
    valid_frames,
)


@pytest.mark.parametrize("longest", [1, 2, 3, 7, 101, 299, 2001])
def test_counts_survive_the_round_trip(longest):
    """Every count of every batch, in float32."""
    counts = torch.arange(1, longest + 1)
    x = torch.zeros(longest, longest)
    lengths = relative_lengths(counts)
    assert lengths.dtype == torch.float32
    assert lengths[-1] == 1.0
    assert (lengths > 0).all()
    assert (frame_counts(lengths, x) == counts).all()


def test_speechbrains_lengths_give_the_same_counts():
    """n / T in float32 is just above or below n frames; both are n."""
    for longest in (3, 101, 299):
        counts = torch.arange(1, longest + 1)
        lengths = counts.float() / longest
        x = torch.zeros(longest, longest)
        assert (frame_counts(lengths, x) == counts).all()


def test_no_lengths_means_all_full():
    assert valid_frames(None, torch.zeros(2, 3, 4)).all()


def test_feature_lengths_count_the_frames_of_speechbrains_fbank():
    """For any number of samples, against the features themselves."""
    from speechbrain.lobes.features import Fbank

    fbank = Fbank(n_mels=8)
    samples = torch.randint(400, 8000, (40,)).tolist()
    wavs = torch.zeros(len(samples), max(samples))
    lens = torch.tensor(samples) / max(samples)
    lengths = feature_lengths(lens, wavs, 160)
    feats = fbank(wavs)
    expected = [fbank(torch.zeros(1, n)).shape[1] for n in samples]
    assert frame_counts(lengths, feats).tolist() == expected
