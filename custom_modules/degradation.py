"""Recordings made worse in a known way: shorter, noisier.

A model's fall-off is measured on the trials that it was verified on, cut and
mixed with noise. What is drawn depends on seed and utterance alone, as in
`augmentation`.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from custom_modules.augmentation import AugmentationSource
from custom_modules.mixing import add_noise

# A stretch of noise may be silent: then another one is drawn.
MAX_DRAWS = 20


class Degradation:
    """Cut an utterance to its first seconds, then mix noise in.

    The SNR is over the whole of the cut utterance, pauses among it, as that of
    `mixing.add_noise`. An utterance that is shorter stays as long as it is.

    Arguments
    ---------
    max_seconds : float | None
        Of an utterance, from its start; None: all of it.
    noise_files : list[Path]
        Recordings of noise; empty: none is added.
    snr : float | None
        In dB; where there is noise, and there alone.
    sample_rate : int
        Hz.
    seed : int
        Of the draws.

    Raises
    ------
    ValueError
        For noise without an SNR and an SNR without noise, for an SNR that is
        not finite, and for seconds that are not positive.

    Example
    -------
    >>> degrade = Degradation(0.5, [], None, sample_rate=16000, seed=0)
    >>> degrade(torch.ones(16000), "id10270/session/00001").shape
    torch.Size([8000])
    >>> str(degrade), degrade.shorten(2.0), degrade.shorten(0.3)
    ('first 0.5 s', 0.5, 0.3)
    """

    def __init__(
        self,
        max_seconds: float | None,
        noise_files: list[Path],
        snr: float | None,
        sample_rate: int,
        seed: int,
    ):
        if max_seconds is not None and not 0 < max_seconds < math.inf:
            raise ValueError(
                f"max_seconds ({max_seconds}) must be positive, or null to "
                "take whole utterances"
            )
        if bool(noise_files) != (snr is not None):
            raise ValueError(
                f"{len(noise_files)} noise files and an SNR of {snr} dB: give "
                "both, or none of the two"
            )
        if snr is not None and not math.isfinite(snr):
            raise ValueError(f"the SNR ({snr} dB) must be finite, such as 10")
        self.max_seconds = max_seconds
        self.snr = snr
        self.sample_rate = sample_rate
        self.source = None
        if snr is not None:
            self.source = AugmentationSource(
                noise_files, [], snr, snr, sample_rate, seed
            )

    def __str__(self) -> str:
        parts = []
        if self.max_seconds is not None:
            parts.append(f"first {self.max_seconds:g} s")
        if self.snr is not None:
            parts.append(f"noise at {self.snr:g} dB")
        return ", ".join(parts) or "as recorded"

    def shorten(self, seconds: float) -> float:
        """What is left of so many seconds."""
        if self.max_seconds is None:
            return seconds
        return min(seconds, self.max_seconds)

    def __call__(self, wav: Tensor, utt_id: str) -> Tensor:
        """Degrade an utterance.

        Arguments
        ---------
        wav : Tensor
            (samples,).
        utt_id : str
            Its name, on which the noise depends.

        Returns
        -------
        degraded : Tensor
            (fewer samples,).

        Raises
        ------
        ValueError
            Names an utterance of which nothing or silence is left.
        """
        if self.max_seconds is not None:
            wav = wav[: round(self.max_seconds * self.sample_rate)]
        if not len(wav):
            raise ValueError(
                f"{utt_id}: no sample is left of it; raise max_seconds "
                f"({self.max_seconds})"
            )
        if self.source is None:
            return wav
        if not wav.any():
            raise ValueError(
                f"{utt_id}: silent ({self}), so no noise has an SNR of "
                f"{self.snr:g} dB; take it out of the trials, or raise "
                "max_seconds"
            )
        # add_noise has a batch, (1, samples).
        noise = self._draw_noise(utt_id, len(wav)).unsqueeze(0)
        snrs = torch.tensor([self.snr], dtype=wav.dtype)
        return add_noise(wav.unsqueeze(0), noise, snrs).squeeze(0)

    def _draw_noise(self, utt_id: str, num_samples: int) -> Tensor:
        for attempt in range(MAX_DRAWS):
            noise = self.source.draw(utt_id, attempt, num_samples).material
            if noise.any():
                return noise
        raise ValueError(
            f"{utt_id}: {MAX_DRAWS} stretches of noise drawn for it are all "
            "silent; give other recordings of noise"
        )
