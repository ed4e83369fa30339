"""Read audio files, whole or in part, at one sample rate and channel."""

import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from custom_modules.packed import PackedFile, open_packed

BANK_BYTES = 2**26
BLOCK_VALUES = 2**21  # samples of all channels decoded at a time
# The resampling filter has a tap for each pair of samples, of the two rates,
# in their common period: 44.1 to 16 kHz has 441 * 160.
MAX_TAPS = 2**22
MAX_UPSAMPLING = 16


def open_audio(path: str | Path) -> soundfile.SoundFile | PackedFile:
    """Open an audio file, or one within a packed folder.

    Arguments
    ---------
    path : str | Path
        Any file that libsndfile reads (WAV, FLAC, …); with a folder that ends
        in ".packed" in it, a file that `custom_modules.packing` wrote there.

    Returns
    -------
    file : soundfile.SoundFile | PackedFile
        To be used in a `with` statement.

    Example
    -------
    >>> path = getfixture("tmp_path") / "ramp.wav"
    >>> soundfile.write(path, [0.0, 0.25, 0.5, 0.75], 16000)
    >>> with open_audio(path) as file:
    ...     file.frames, file.samplerate
    (4, 16000)
    """
    packed = open_packed(path)
    return soundfile.SoundFile(path) if packed is None else packed


def check_rate(path: str | Path, rate: int, sample_rate: int) -> None:
    """Refuse a rate whose conversion takes far more memory than the file.

    Arguments
    ---------
    path : str | Path
        Named in the error.
    rate : int
        Hz, of the file.
    sample_rate : int
        Hz, of the result.

    Raises
    ------
    ValueError
        For rates without a large common divisor and for very low ones: what
        a damaged header has.

    Example
    -------
    >>> check_rate("a.wav", 44100, 16000)
    >>> check_rate("a.wav", 16001, 16000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: a.wav: cannot be converted from 16001 Hz to 16000 Hz in ...
    """
    taps = rate * sample_rate // math.gcd(rate, sample_rate) ** 2
    if taps > MAX_TAPS or rate * MAX_UPSAMPLING < sample_rate:
        raise ValueError(
            f"{path}: cannot be converted from {rate} Hz to {sample_rate} Hz "
            "in little memory: replace it, or resample it to a usual rate"
        )


def read_audio(
    path: str | Path,
    sample_rate: int,
    start: int = 0,
    num_samples: int | None = None,
    channel: int | None = None,
) -> Tensor:
    """Read a segment by seeking: nothing before it is decoded.

    Another sample rate is converted as SpeechBrain's
    `AudioNormalizer` does.

    Arguments
    ---------
    path : str | Path
        Of `open_audio`.
    sample_rate : int
        Hz of the result.
    start : int
        First sample of the segment, counted at `sample_rate`.
    num_samples : int | None
        Samples of the segment, at `sample_rate`; None reads to the end.
    channel : int | None
        The channel to read, from 0; None averages all.

    Returns
    -------
    wav : Tensor
        float32 (samples,), in [-1, 1] for integer formats.

    Raises
    ------
    ValueError
        Names the file: unreadable, shorter than the segment, not finite, of
        a rate that `check_rate` refuses.

    Example
    -------
    >>> path = getfixture("tmp_path") / "ramp.wav"
    >>> soundfile.write(path, [0.0, 0.25, 0.5, 0.75], 16000)
    >>> read_audio(path, 16000, start=1, num_samples=2)
    tensor([0.2500, 0.5000])
    """
    try:
        with open_audio(path) as file:
            rate = file.samplerate
            check_rate(path, rate, sample_rate)
            first = start * rate // sample_rate
            wanted = file.frames - first
            if num_samples is not None:
                # One more than needed: resampling rounds up.
                wanted = -(-num_samples * rate // sample_rate)
            file.seek(first)
            # libsndfile takes three times as long to make floats of these.
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            samples = _read_blocks(file, wanted, dtype)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if len(samples) < wanted or wanted < 1:
        raise ValueError(
            f"{path}: has no {wanted} samples from {first} on; it is shorter "
            "than its header or its manifest says: replace the file, or delete "
            "the manifests to have them made anew"
        )
    if dtype == "int16":
        samples = np.multiply(samples, 2.0**-15, dtype=np.float32)
    if channel is None and samples.shape[1] == 1:
        channel = 0
    channels = torch.from_numpy(samples)  # (samples, channels)
    wav = channels.mean(dim=1) if channel is None else channels[:, channel]
    if rate != sample_rate:
        wav = torchaudio.functional.resample(wav, rate, sample_rate)
        wav = wav[:num_samples]
    # Last, for the mean or the filter of huge samples overflows.
    if dtype == "float32" and not wav.isfinite().all():
        raise ValueError(f"{path}: has NaN or infinite samples: replace it")
    return wav


def _read_blocks(
    file: soundfile.SoundFile | PackedFile, wanted: int, dtype: str
) -> NDArray:
    """Read what is there of the samples wanted, (samples, channels).

    The number in a header may be of more than memory holds.
    """
    size = BLOCK_VALUES // file.channels
    blocks = [file.read(min(wanted, size), dtype=dtype, always_2d=True)]
    missing = wanted - len(blocks[0])
    while missing > 0 and len(blocks[-1]):
        block = file.read(min(missing, size), dtype=dtype, always_2d=True)
        blocks.append(block)
        missing -= len(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


class AudioBank:
    """Whole files, decoded once and kept while there is room for them.

    Rooms and short noises are few, or drawn again and again.

    Arguments
    ---------
    sample_rate : int
        Hz.
    max_bytes : int
        Of the samples that are kept; the ones unused for longest go first.

    Example
    -------
    >>> path = getfixture("tmp_path") / "room.wav"
    >>> soundfile.write(path, [0.0, 0.5, 0.25], 16000)
    >>> bank = AudioBank(sample_rate=16000)
    >>> bank.read(path)
    tensor([0.0000, 0.5000, 0.2500])
    >>> path.unlink()
    >>> bank.read(path)
    tensor([0.0000, 0.5000, 0.2500])
    """

    def __init__(self, sample_rate: int, max_bytes: int = BANK_BYTES):
        self.sample_rate = sample_rate
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.wavs: OrderedDict[tuple[Path, int | None], Tensor] = OrderedDict()

    def read(self, path: Path, channel: int | None = None) -> Tensor:
        """A channel, or the mean of all, (samples,); not to be changed."""
        key = path, channel
        if key in self.wavs:
            self.wavs.move_to_end(key)
            return self.wavs[key]
        wav = read_audio(path, self.sample_rate, channel=channel).contiguous()
        self.wavs[key] = wav
        self.num_bytes += wav.nbytes
        while self.num_bytes > self.max_bytes:
            _, oldest = self.wavs.popitem(last=False)
            self.num_bytes -= oldest.nbytes
        return wav
