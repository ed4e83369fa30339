"""Segments of files against slices of the whole, and of a sine."""

import math
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch

from custom_modules.audio import AudioBank, read_audio

RATE = 16000
# A resampled sine, away from the edges of the segment: its filter is short.
RESAMPLED, EDGE = 2e-3, 100


def sine(path, rate, seconds=2.0, hertz=440.0, channels=1):
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.5 * np.sin(2 * math.pi * hertz * time)
    soundfile.write(path, np.stack([samples] * channels, 1), rate)
    return path


@pytest.mark.parametrize(
    ("name", "subtype", "steps"),
    [
        ("a.wav", "PCM_16", 2**15),
        ("a.flac", "PCM_16", 2**15),
        ("a.wav", "PCM_24", 2**23),
        ("a.wav", "FLOAT", None),
    ],
)
def test_a_segment_is_a_slice_of_the_file(tmp_path, name, subtype, steps):
    """Integers are divided by their range: -1 included, 1 not."""
    samples = np.random.default_rng(0).uniform(-1, 1, 5000)
    if steps:
        samples = np.round(samples * steps).clip(-steps, steps - 1) / steps
    samples[:2] = -1.0, 0.0
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    whole = torch.from_numpy(samples).float()
    assert torch.equal(read_audio(tmp_path / name, RATE), whole)
    for start, size in ((0, 1), (0, 5000), (1234, 777), (4999, 1)):
        segment = read_audio(tmp_path / name, RATE, start, size)
        assert torch.equal(segment, whole[start : start + size])
    assert torch.equal(read_audio(tmp_path / name, RATE, 4000), whole[4000:])


def test_channels_are_averaged(write_wav):
    path, samples = write_wav(channels=2)
    wav = read_audio(path, RATE, 100, 50)
    expected = (samples[100:150, 0] + samples[100:150, 1]) / 2
    torch.testing.assert_close(wav, torch.from_numpy(expected))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_another_rate_keeps_a_sine_where_it_was(tmp_path, rate, channels):
    """Frequency, phase and amplitude, from 0.5 s on."""
    path = sine(tmp_path / "a.wav", rate, channels=channels)
    wav = read_audio(path, RATE, 8000, 16000)
    assert wav.shape == (16000,)
    assert wav.dtype == torch.float32
    time = (8000 + torch.arange(16000, dtype=torch.float64)) / RATE
    expected = 0.5 * torch.sin(2 * math.pi * 440.0 * time).float()
    torch.testing.assert_close(
        wav[EDGE:-EDGE], expected[EDGE:-EDGE], atol=RESAMPLED, rtol=0.0
    )


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_segments_have_the_samples_asked_for_up_to_the_end(tmp_path, rate):
    """Rounding never asks for samples that the file does not have."""
    frames = 7919
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(frames), rate)
    available = frames * RATE // rate
    rng = np.random.default_rng(0)
    for size in [1, 2, 3, *rng.integers(4, available, 20).tolist(), available]:
        for start in (0, available - size, (available - size) // 2):
            assert read_audio(path, RATE, start, size).shape == (size,)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_nothing_before_the_segment_is_read(tmp_path, monkeypatch, suffix):
    path = sine(tmp_path / f"a.{suffix}", RATE)
    reads, read = [], soundfile.SoundFile.read

    def record(file, frames, *args, **kwargs):
        start = file.tell()
        samples = read(file, frames, *args, **kwargs)
        reads.append((start, file.tell()))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", record)
    read_audio(path, RATE, 20000, 1000)
    assert reads == [(20000, 21000)]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.wav: cannot be read"):
        read_audio(tmp_path / "a.wav", RATE)


def test_a_text_file_is_no_audio(tmp_path):
    (tmp_path / "a.wav").write_text("404: Not Found")
    with pytest.raises(ValueError, match=r"a\.wav: cannot be read"):
        read_audio(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize(
    ("start", "size"), [(16000, None), (16000, 1), (20000, 1), (15990, 11)]
)
def test_a_segment_beyond_the_end_is_an_error(write_wav, start, size):
    path, _ = write_wav(seconds=1.0)
    message = r"noise\.wav: (has no|cannot be read)"
    with pytest.raises(ValueError, match=message):
        read_audio(path, RATE, start, size)


def test_an_empty_file_is_an_error(write_wav):
    path, _ = write_wav(seconds=0.0)
    with pytest.raises(ValueError, match=r"noise\.wav: has no"):
        read_audio(path, RATE)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_an_error(tmp_path, value):
    """Where they are read: a segment before them is good."""
    path = tmp_path / "a.wav"
    samples = np.zeros(1000)
    samples[500] = value
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: has NaN or infinite"):
        read_audio(path, RATE)
    assert not read_audio(path, RATE, 0, 500).any()


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_samples_that_overflow_are_an_error(tmp_path, rate):
    """In the mean of the channels."""
    path = tmp_path / "a.wav"
    samples = np.full((1000, 2), 3e38)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: has NaN or infinite"):
        read_audio(path, RATE)


@pytest.mark.parametrize("promised", [0, 8001, 2**36 - 1])
def test_a_header_that_lies_costs_no_memory(tmp_path, promised):
    """36 bits of a FLAC's header; 0 is an unknown number."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 8000), RATE)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | promised >> 32
    content[22:26] = struct.pack(">I", promised & 0xFFFFFFFF)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.flac: (cannot be read|has no)"):
        read_audio(path, RATE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24
    assert read_audio(path, RATE, 100, 300).shape == (300,)


@pytest.mark.parametrize("rate", [1, 999, 16001, 2**31 - 1])
def test_a_rate_whose_filter_fills_the_memory_is_an_error(write_wav, rate):
    path, _ = write_wav()
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    message = rf"noise\.wav: cannot be converted from {rate} Hz"
    with pytest.raises(ValueError, match=message):
        read_audio(path, RATE)


def test_blocks_are_joined(tmp_path, monkeypatch):
    path = sine(tmp_path / "a.flac", RATE, channels=2)
    whole = read_audio(path, RATE)
    monkeypatch.setattr("custom_modules.audio.BLOCK_VALUES", 2001)
    assert torch.equal(read_audio(path, RATE), whole)


def test_the_bank_keeps_the_latest_and_no_more(write_wav, monkeypatch):
    """Three noises of 4000 bytes: two fit."""
    noises = [write_wav(f"{i}.wav", 1000 / RATE, seed=i)[0] for i in range(3)]
    bank = AudioBank(RATE, max_bytes=9000)
    whole = [bank.read(path).clone() for path in noises]
    assert bank.num_bytes == 8000
    monkeypatch.setattr("custom_modules.audio.read_audio", None)
    for path, wav in zip(noises[1:], whole[1:], strict=True):
        assert torch.equal(bank.read(path), wav)
    with pytest.raises(TypeError):
        bank.read(noises[0])  # read anew
