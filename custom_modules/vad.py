"""Voice activity by energy: which frames of an utterance hold speech."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EnergyVAD(nn.Module):
    """Mark the frames that are not much weaker than the loudest one.

    A frame is voiced where its energy in dB is above that of the
    utterance's loudest frame minus ``threshold``, and above ``floor``: the
    detector that Kinnunen and Li describe in "An overview of
    text-independent speaker recognition",
    https://doi.org/10.1016/j.specom.2009.08.009. Frames are centred as
    SpeechBrain's: ``n`` samples give ``n // hop_length + 1``.

    Arguments
    ---------
    sample_rate : int
        Hz.
    threshold : float
        Distance from the loudest frame in dB, positive.
    floor : float
        Mean square of a frame in dB, 0 for a square wave of full scale; what
        is below is silence. So an utterance may have no voiced frame.
    win_length : float
        Length of a frame in ms.
    hop_length : float
        Distance of frames in ms.

    Raises
    ------
    ValueError
        Where ``threshold`` is not positive.

    Example
    -------
    >>> wavs = torch.cat([torch.full((1, 800), x) for x in (1.0, 1e-3)], 1)
    >>> EnergyVAD(16000)(wavs, torch.tensor([11])).int()
    tensor([[1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.int32)
    """

    def __init__(
        self,
        sample_rate: int,
        threshold: float = 30.0,
        floor: float = -70.0,
        win_length: float = 25.0,
        hop_length: float = 10.0,
    ) -> None:
        super().__init__()
        if not threshold > 0:
            raise ValueError(
                f"threshold ({threshold}) must be positive: dB below the "
                "loudest frame"
            )
        self.threshold = threshold
        self.floor = floor
        self.win_length = round(sample_rate * win_length / 1000)
        self.hop_length = round(sample_rate * hop_length / 1000)

    def forward(self, wavs: Tensor, counts: Tensor) -> Tensor:
        """Mark the voiced frames.

        Shape: wavs (batch, samples), zero where padded, counts (batch,) of
        frames -> boolean (batch, time).
        """
        left = self.win_length // 2
        padded = F.pad(wavs.float(), (left, self.win_length - left))
        frames = padded.unfold(1, self.win_length, self.hop_length)
        power = frames.square().mean(dim=2)  # (batch, time)
        places = torch.arange(power.shape[1], device=wavs.device)
        valid = places < counts.unsqueeze(1)
        energies = 10 * power.log10()
        loudest = energies.masked_fill(~valid, -torch.inf).amax(1, True)
        is_loud = energies > loudest - self.threshold
        return valid & is_loud & (energies > self.floor)
