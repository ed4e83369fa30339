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
import torch
from torch import Tensor, nn

from custom_modules.audio import AudioBank, open_audio, read_audio
from custom_modules.mixing import add_noise, reverberate


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
        path on, padded.
    snr : float
        Signal-to-noise ratio in dB; of no meaning for a room.
    is_noise : bool
        Noise, not a room.
    length : int
        Samples of the material before its padding.
    """

    material: Tensor
    snr: float
    is_noise: bool
    length: int


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
    >>> import soundfile
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
        self.bank = AudioBank(sample_rate)
        self.noise_lengths: dict[Path, int] = {}  # samples; of those drawn

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
        if is_noise:
            noise = self._read_noise(path, num_samples, generator)
            return Draw(noise, snr, is_noise, num_samples)
        # Microphones of an array hear the sound at different times.
        rir = self.bank.read(path, channel=0)
        rir = rir[int(rir.abs().argmax()) :][:num_samples]
        padded = nn.functional.pad(rir, (0, num_samples - len(rir)))
        return Draw(padded, snr, is_noise, len(rir))

    def _read_noise(
        self, path: Path, num_samples: int, generator: np.random.Generator
    ) -> Tensor:
        if path not in self.noise_lengths:  # else it is opened twice each time
            with open_audio(path) as file:
                self.noise_lengths[path] = (
                    file.frames * self.sample_rate // file.samplerate
                )
        available = self.noise_lengths[path]
        if available <= num_samples:
            noise = self.bank.read(path)
            start = -int(generator.integers(len(noise))) % len(noise)
            missing = max(0, num_samples - (len(noise) - start))
            repeats, rest = divmod(missing, len(noise))
            parts = [noise[start:], *[noise] * repeats, noise[:rest]]
            return torch.cat(parts)[:num_samples]
        start = int(generator.integers(available - num_samples))
        return read_audio(path, self.sample_rate, start, num_samples)


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
    >>> augment.set_draws(noise, torch.zeros(1), torch.ones(1).bool())
    >>> augment(wavs)  # 0 dB
    tensor([[2., 0., 2., 0.]])
    """

    def __init__(self):
        super().__init__()
        self.draws = None

    def set_draws(
        self,
        material: Tensor,
        snrs: Tensor,
        is_noise: Tensor,
        lengths: Tensor | None = None,
    ) -> None:
        """Give the draws of the next batch.

        Arguments
        ---------
        material : Tensor
            (batch, samples), of each utterance's `Draw`.
        snrs : Tensor
            (batch,) in dB.
        is_noise : Tensor
            Boolean (batch,), on the CPU: which rows are noisy is decided
            there, so that a GPU is not waited for.
        lengths : Tensor | None
            int (batch,), on the CPU, samples of the material before its
            padding; None: as many as there are.
        """
        self.draws = (material, snrs, is_noise, lengths)

    @torch.no_grad()
    def forward(self, wavs: Tensor) -> Tensor:
        """Waveforms (batch, samples) → their augmented copies, same shape."""
        if self.draws is None or self.draws[0].shape != wavs.shape:
            raise ValueError(
                f"no draws for waveforms of shape {tuple(wavs.shape)}: call "
                "set_draws before each batch"
            )
        material, snrs, is_noise, lengths = self.draws
        self.draws = None  # never used twice
        augmented = torch.empty_like(wavs)
        noisy, reverberant = is_noise.nonzero(), (~is_noise).nonzero()
        if len(noisy):  # the FFT takes no empty batch
            rows = noisy.squeeze(1).to(wavs.device, non_blocking=True)
            augmented[rows] = add_noise(wavs[rows], material[rows], snrs[rows])
        if len(reverberant):
            longest = wavs.shape[1]
            if lengths is not None:
                longest = int(lengths[~is_noise].max())
            rows = reverberant.squeeze(1).to(wavs.device, non_blocking=True)
            augmented[rows] = reverberate(wavs[rows], material[rows, :longest])
        return augmented
