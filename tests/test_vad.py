"""Energies against a loop over frames; padding has no influence."""

import numpy as np
import pytest
import torch

from custom_modules.vad import EnergyVAD

RATE = 16000


def loud_and_quiet(num_samples, quiet=1e-3, seed=0):
    """Noise that gets quieter in its second half."""
    generator = torch.Generator().manual_seed(seed)
    wav = 0.1 * torch.randn(num_samples, generator=generator)
    wav[num_samples // 2 :] *= quiet
    return wav


@pytest.mark.parametrize("num_samples", [1600, 2401, 7999])
def test_frames_are_those_of_a_loop(num_samples):
    wav = loud_and_quiet(num_samples)
    count = num_samples // 160 + 1
    padded = np.pad(wav.double().numpy(), 200)
    energies = np.array(
        [
            10 * np.log10(np.mean(padded[160 * t : 160 * t + 400] ** 2))
            for t in range(count)
        ]
    )
    expected = (energies > energies.max() - 30) & (energies > -70)
    voiced = EnergyVAD(RATE)(wav[None], torch.tensor([count]))
    assert voiced[0].tolist() == expected.tolist()
    assert 0 < expected.sum() < count


def test_padding_has_no_influence():
    vad = EnergyVAD(RATE)
    wavs = [loud_and_quiet(n, seed=n) for n in (8000, 3333, 560)]
    counts = torch.tensor([len(wav) // 160 + 1 for wav in wavs])
    batch = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    voiced = vad(batch, counts)
    assert voiced.shape == (3, 51)
    for row, wav, count in zip(voiced, wavs, counts, strict=True):
        alone = vad(wav[None], count[None])
        assert torch.equal(row[:count], alone[0])
        assert not row[count:].any()


def test_the_threshold_is_relative_to_the_utterance():
    """The same frames where the whole utterance is 20 dB weaker."""
    vad = EnergyVAD(RATE)
    wav, counts = loud_and_quiet(8000)[None], torch.tensor([51])
    assert torch.equal(vad(wav, counts), vad(0.1 * wav, counts))


def test_a_lower_threshold_keeps_fewer_frames():
    wav, counts = loud_and_quiet(8000, quiet=0.1)[None], torch.tensor([51])
    kept = [
        EnergyVAD(RATE, threshold)(wav, counts).sum().item()
        for threshold in (10.0, 30.0)
    ]
    assert kept[0] < kept[1] == 51


def test_silence_has_no_voiced_frame():
    vad = EnergyVAD(RATE)
    counts = torch.tensor([11, 11])
    wavs = torch.stack([torch.zeros(1600), 1e-4 * loud_and_quiet(1600)])
    assert not vad(wavs, counts).any()


def test_a_threshold_that_is_not_positive_is_named():
    with pytest.raises(ValueError, match=r"threshold \(0\) must be positive"):
        EnergyVAD(RATE, 0)
