"""Noise or reverberation, drawn for each utterance by itself.

The published MFCon set-up (https://arxiv.org/abs/2410.05037, section 4):
each utterance of a batch gets one augmented copy. What is drawn depends on
seed, epoch and utterance alone, so it is the same for any number of loader
workers and of ranks, and there is no state to save. `AugmentationSource`
draws and reads in the loader's workers; `NoiseOrReverb` applies it to the
batch, on its device, as the single entry of SpeechBrain's `Augmenter`.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from custom_modules.audio import read_audio


def utterance_generator(
    seed: int, epoch: int, utt_id: str, purpose: str
) -> np.random.Generator:
    """Random numbers of one utterance in one epoch.

    Arguments
    ---------
    seed, epoch : int
        Of the experiment.
    utt_id : str
        The utterance.
    purpose : str
        What the numbers are for; each purpose has its own.

    Returns
    -------
    generator : np.random.Generator
        The same for the same arguments, on any machine.

    Example
    -------
    >>> a = utterance_generator(1986, 1, "id10270/session/00001", "crop")
    >>> b = utterance_generator(1986, 1, "id10270/session/00001", "crop")
    >>> a.random() == b.random()
    True
    """
    text = f"{seed}/{epoch}/{utt_id}/{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


class Draw(NamedTuple):
    """What was drawn for one utterance.

    Arguments
    ---------
    material : Tensor
        (samples,), the noise, or the room's impulse response from its direct
        path on.
    snr : float
        Signal-to-noise ratio in dB; of no meaning for a room.
    is_noise : bool
        Noise, not a room.
    """

    material: Tensor
    snr: float
    is_noise: bool


class AugmentationSource:
    """Draw noise or a room for an utterance, and read it.

    Arguments
    ---------
    noise_files : list[Path]
        Recordings of noise; long ones are read by seeking, short ones
        repeated. May be empty: then every copy is reverberated.
    rir_files : list[Path]
        Room impulse responses. May be empty: then every copy is noisy.
    snr_low, snr_high : float
        Range in dB from which the SNR is drawn uniformly.
    sample_rate : int
        Hz.
    seed : int
        Of the draws.

    Example
    -------
    >>> path = getfixture("tmp_path") / "noise.wav"
    >>> soundfile.write(path, np.random.uniform(-1, 1, 800), 16000)
    >>> source = AugmentationSource([path], [], 15, 25, 16000, seed=1986)
    >>> draw = source.draw("id10270/session/00001", epoch=1, num_samples=1600)
    >>> draw.material.shape, draw.is_noise, 15 <= draw.snr <= 25
    (torch.Size([1600]), True, True)
    """

    def __init__(
        self,
        noise_files: list[Path],
        rir_files: list[Path],
        snr_low: float,
        snr_high: float,
        sample_rate: int,
        seed: int,
    ):
        if not noise_files and not rir_files:
            raise ValueError("give noise files, room impulse responses or both")
        if snr_low > snr_high:
            raise ValueError(
                f"snr_low ({snr_low}) must not exceed snr_high ({snr_high})"
            )
        self.noise_files = list(noise_files)
        self.rir_files = list(rir_files)
        self.snr_low = snr_low
        self.snr_high = snr_high
        self.sample_rate = sample_rate
        self.seed = seed

    def draw(self, utt_id: str, epoch: int, num_samples: int) -> Draw:
        """Draw for an utterance of `num_samples` samples.

        Noise and rooms are equally likely where there are both.

        Arguments
        ---------
        utt_id : str
            The utterance.
        epoch : int
            The epoch.
        num_samples : int
            Samples of the utterance and of the material.

        Returns
        -------
        draw : Draw
            With material (num_samples,).
        """
        generator = utterance_generator(self.seed, epoch, utt_id, "augment")
        is_noise = generator.random() < 0.5
        if not self.noise_files or not self.rir_files:
            is_noise = bool(self.noise_files)
        files = self.noise_files if is_noise else self.rir_files
        path = files[generator.integers(len(files))]
        snr = generator.uniform(self.snr_low, self.snr_high)
        read = self._read_noise if is_noise else self._read_rir
        return Draw(read(path, num_samples, generator), snr, is_noise)

    def _read_noise(
        self, path: Path, num_samples: int, generator: np.random.Generator
    ) -> Tensor:
        info = soundfile.info(path)
        available = info.frames * self.sample_rate // info.samplerate
        if available <= num_samples:
            noise = read_audio(path, self.sample_rate)
            repeats = -(-num_samples // len(noise))
            start = generator.integers(len(noise))
            return noise.roll(int(start)).repeat(repeats)[:num_samples]
        start = int(generator.integers(available - num_samples))
        return read_audio(path, self.sample_rate, start, num_samples)

    def _read_rir(
        self, path: Path, num_samples: int, generator: np.random.Generator
    ) -> Tensor:
        del generator  # a room has no random part
        # Microphones of an array hear the sound at different times.
        rir = read_audio(path, self.sample_rate, channel=0)
        rir = rir[int(rir.abs().argmax()) :][:num_samples]
        return nn.functional.pad(rir, (0, num_samples - len(rir)))


class NoiseOrReverb(nn.Module):
    """Apply one draw to each waveform of a batch.

    Noise is added at its SNR. Reverberation is the convolution with the
    impulse response, cut to the waveform's length and scaled to its power.
    Silent waveforms stay silent. SpeechBrain's `Augmenter` passes waveforms
    and lengths only, so the draws are set before each call.

    Example
    -------
    >>> augment = NoiseOrReverb()
    >>> wavs, noise = torch.ones(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    >>> augment.set_draws(noise, torch.zeros(1), torch.tensor([True]))
    >>> augment(wavs)  # 0 dB
    tensor([[2., 0., 2., 0.]])
    """

    def __init__(self):
        super().__init__()
        self.draws = None

    def set_draws(
        self, material: Tensor, snrs: Tensor, is_noise: Tensor
    ) -> None:
        """Give the draws of the next batch.

        Arguments
        ---------
        material : Tensor
            (batch, samples), of each utterance's `Draw`.
        snrs : Tensor
            (batch,) in dB.
        is_noise : Tensor
            Boolean (batch,).
        """
        self.draws = (material, snrs, is_noise)

    @torch.no_grad()
    def forward(self, wavs: Tensor) -> Tensor:
        """Waveforms (batch, samples) → their augmented copies, same shape."""
        if self.draws is None or self.draws[0].shape != wavs.shape:
            raise ValueError(
                f"no draws for waveforms of shape {tuple(wavs.shape)}: call "
                "set_draws before each batch"
            )
        material, snrs, is_noise = self.draws
        self.draws = None  # never used twice
        augmented = torch.empty_like(wavs)
        if is_noise.any():  # the FFT takes no empty batch
            augmented[is_noise] = add_noise(
                wavs[is_noise], material[is_noise], snrs[is_noise]
            )
        if not is_noise.all():
            augmented[~is_noise] = reverberate(
                wavs[~is_noise], material[~is_noise]
            )
        return augmented


def add_noise(wavs: Tensor, noises: Tensor, snrs: Tensor) -> Tensor:
    """Mix noise in at a signal-to-noise ratio.

    Arguments
    ---------
    wavs, noises : Tensor
        (batch, samples).
    snrs : Tensor
        (batch,) in dB: 10 · log10 of the ratio of the mean squares.

    Returns
    -------
    noisy : Tensor
        (batch, samples).

    Example
    -------
    >>> add_noise(torch.ones(1, 2), 5 * torch.ones(1, 2), torch.tensor([20.0]))
    tensor([[1.1000, 1.1000]])
    """
    smallest = torch.finfo(wavs.dtype).tiny
    signal = wavs.square().mean(dim=1)
    noise = noises.square().mean(dim=1).clamp(min=smallest)
    gains = (signal / noise).sqrt() * 10.0 ** (-snrs / 20.0)
    return wavs + gains.unsqueeze(1) * noises


def reverberate(wavs: Tensor, rirs: Tensor) -> Tensor:
    """Convolve each waveform with its own room, keeping length and power.

    Arguments
    ---------
    wavs : Tensor
        (batch, samples).
    rirs : Tensor
        (batch, samples), from the direct path on.

    Returns
    -------
    reverberant : Tensor
        (batch, samples).

    Example
    -------
    >>> rirs = torch.tensor([[0.0, 1.0, 0.0]])  # one sample's delay
    >>> reverberate(torch.tensor([[3.0, 4.0, 0.0]]), rirs).round(decimals=3)
    tensor([[0., 3., 4.]])
    """
    size = wavs.shape[1] + rirs.shape[1] - 1
    size = 1 << (size - 1).bit_length()  # a power of two is fastest
    spectra = torch.fft.rfft(wavs, size) * torch.fft.rfft(rirs, size)
    reverberant = torch.fft.irfft(spectra, size)[:, : wavs.shape[1]]
    smallest = torch.finfo(wavs.dtype).tiny
    before = wavs.square().mean(dim=1)
    after = reverberant.square().mean(dim=1).clamp(min=smallest)
    return reverberant * (before / after).sqrt().unsqueeze(1)
