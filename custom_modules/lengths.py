"""Relative lengths, frame counts and masks.

A batch of sequences is padded to its longest. SpeechBrain describes it by
relative lengths; everything here counts *feature frames*, not samples:
with ``n`` valid frames of ``T``, the relative length is ``(n - 1/2) / T``,
and 1.0 for the longest. The half keeps float32 rounding away from the frame
boundary: ``n / T`` times ``T`` is not always ``n``.
"""

import torch
from torch import Tensor

# Frame t is valid where t < length * T - TOLERANCE. Smaller than the half
# frame that `relative_lengths` leaves, larger than float32's rounding.
TOLERANCE = 1e-3


def valid_frames(lengths: Tensor | None, x: Tensor) -> Tensor:
    """Mark the frames that belong to the sequence, not to its padding.

    Arguments
    ---------
    lengths : Tensor | None
        Relative lengths (batch,) in (0, 1]; None means all full.
    x : Tensor
        Sequences (batch, time, ...), read for shape and device alone.

    Returns
    -------
    mask : Tensor
        Boolean (batch, time), True where the frame is valid.

    Example
    -------
    >>> valid_frames(torch.tensor([1.0, 0.4]), torch.zeros(2, 3, 8))
    tensor([[ True,  True,  True],
            [ True,  True, False]])
    """
    batch, time = x.shape[:2]
    if lengths is None:
        return x.new_ones((batch, time), dtype=torch.bool)
    frames = torch.arange(time, device=x.device)
    ends = lengths.to(x.device, torch.float32) * time - TOLERANCE
    return frames < ends.unsqueeze(1)  # (batch, time)


def frame_counts(lengths: Tensor | None, x: Tensor) -> Tensor:
    """Count the valid frames of each sequence.

    Arguments
    ---------
    lengths : Tensor | None
        Relative lengths (batch,); None means all full.
    x : Tensor
        Sequences (batch, time, ...).

    Returns
    -------
    counts : Tensor
        int64 (batch,).

    Example
    -------
    >>> frame_counts(torch.tensor([1.0, 0.4]), torch.zeros(2, 3, 8))
    tensor([3, 2])
    """
    return valid_frames(lengths, x).sum(dim=1)


def relative_lengths(counts: Tensor) -> Tensor:
    """Turn frame counts into relative lengths, the longest being 1.0.

    Arguments
    ---------
    counts : Tensor
        Valid frames (batch,) of each sequence, all positive; the batch is
        padded to the largest.

    Returns
    -------
    lengths : Tensor
        float32 (batch,).

    Example
    -------
    >>> relative_lengths(torch.tensor([4, 2]))
    tensor([1.0000, 0.3750])
    """
    longest = counts.max()
    lengths = (counts - 0.5) / longest
    return lengths.masked_fill(counts == longest, 1.0).float()


def feature_lengths(lens: Tensor, wavs: Tensor, hop_length: int) -> Tensor:
    """Lengths of features from SpeechBrain's lengths of waveforms.

    A centred STFT of ``n`` samples has ``n // hop_length + 1`` frames.

    Arguments
    ---------
    lens : Tensor
        Relative lengths (batch,) of the waveforms, in samples.
    wavs : Tensor
        Waveforms (batch, samples).
    hop_length : int
        Samples between frames.

    Returns
    -------
    lengths : Tensor
        float32 (batch,), as defined above.

    Example
    -------
    >>> feature_lengths(torch.tensor([1.0, 0.5]), torch.zeros(2, 1600), 160)
    tensor([1.0000, 0.5000])
    """
    samples = (lens.double() * wavs.shape[1]).round().long()
    return relative_lengths(samples // hop_length + 1)
