"""What `audio_files` refuses, what it accepts, and when it decodes."""

import os
import struct
import threading
import time

import audio_files
import numpy as np
import pytest
import soundfile as sf
from audio_files import AudioInfo, find_audio, inspect_audio, inspect_many

RATE = 16000


@pytest.fixture
def noise():
    """Half a second."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, RATE // 2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audio.wav"


def cut(path, fraction):
    """Leave a part of a file's bytes."""
    os.truncate(path, int(path.stat().st_size * fraction))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize(
    ("rate", "channels"), [(RATE, 1), (44100, 1), (RATE, 2), (48000, 2)]
)
def test_info_is_what_was_written(
    tmp_path, noise, name, subtype, rate, channels
):
    wav = np.stack([noise] * channels, axis=1)
    sf.write(tmp_path / name, wav, rate, subtype=subtype)
    info = inspect_audio(tmp_path / name, RATE)
    assert info == AudioInfo(len(noise), rate, channels)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "ULAW", "PCM_U8"])
def test_other_codings_of_wav_are_accepted(path, noise, subtype):
    sf.write(path, noise, RATE, subtype=subtype)
    assert inspect_audio(path, RATE).num_samples == len(noise)


def test_extensible_and_further_chunks_are_accepted(path, noise):
    sf.write(path, noise, RATE, format="WAVEX")
    assert inspect_audio(path, RATE).num_samples == len(noise)
    sf.write(path, noise, RATE)
    content = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # odd, so padded
    path.write_bytes(content[:36] + extra + content[36:] + extra)
    assert inspect_audio(path, RATE).num_samples == len(noise)


def test_streamed_wav_of_unknown_size_is_accepted(path, noise):
    """What ffmpeg writes to a pipe."""
    sf.write(path, noise, RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert inspect_audio(path, RATE).num_samples == len(noise)
    assert sf.info(path).frames == len(noise)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_silence_in_the_middle_alone_is_accepted(tmp_path, noise, name):
    noise[1000:-1000] = 0
    sf.write(tmp_path / name, noise, RATE)
    assert inspect_audio(tmp_path / name, RATE).num_samples == len(noise)


@pytest.mark.parametrize("level", [0.0, 0.25])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_silent_file_is_refused(tmp_path, name, channels, level):
    sf.write(tmp_path / name, np.full((RATE, channels), level), RATE)
    with pytest.raises(ValueError, match=r"a\.\w+: silent .* 0"):
        inspect_audio(tmp_path / name, RATE)


def test_channels_that_cancel_out_are_silent(path, noise):
    sf.write(path, np.stack([noise, -noise], axis=1), RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="silent"):
        inspect_audio(path, RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_one_sample_that_is_not_finite_is_refused(path, noise, subtype, value):
    noise[17] = value
    sf.write(path, noise, RATE, subtype=subtype)
    with pytest.raises(ValueError, match=r"audio\.wav: NaN or infinity"):
        inspect_audio(path, RATE)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_text_is_not_audio(tmp_path, name):
    (tmp_path / name).write_text("404 not found, or a page of HTML\n" * 9)
    with pytest.raises(ValueError, match=r"a\.\w+: not audio, or damaged"):
        inspect_audio(tmp_path / name, RATE)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_file_of_no_bytes_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.\w+: empty file"):
        inspect_audio(tmp_path / name, RATE)


def test_wav_without_samples_is_refused(path):
    sf.write(path, np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"audio\.wav: no samples"):
        inspect_audio(path, RATE)


@pytest.mark.parametrize("fraction", [0.01, 0.4, 0.9, 0.999])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_that_was_cut_short_is_refused(path, noise, subtype, fraction):
    sf.write(path, noise, RATE, subtype=subtype)
    cut(path, fraction)
    with pytest.raises(ValueError, match=r"audio\.wav: truncated .*promises"):
        inspect_audio(path, RATE)


def test_wav_that_ends_in_its_header_is_refused(path, noise):
    sf.write(path, noise, RATE)
    os.truncate(path, 30)
    with pytest.raises(ValueError, match="truncated WAV"):
        inspect_audio(path, RATE)


def test_wav_without_format_is_refused(path):
    data = b"data" + struct.pack("<I", 4) + bytes(4)
    path.write_bytes(b"RIFF" + struct.pack("<I", 16) + b"WAVE" + data)
    with pytest.raises(ValueError, match="no format before the data"):
        inspect_audio(path, RATE)


@pytest.mark.parametrize("fraction", [0.4, 0.9, 0.999])
def test_flac_that_was_cut_short_is_refused(tmp_path, noise, fraction):
    path = tmp_path / "a.flac"
    sf.write(path, np.tile(noise, 4), RATE)
    cut(path, fraction)
    with pytest.raises(ValueError, match=r"a\.flac: truncated"):
        inspect_audio(path, RATE)


def test_flac_of_unknown_length_is_refused(tmp_path, noise):
    path = tmp_path / "a.flac"
    sf.write(path, noise, RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not give its length"):
        inspect_audio(path, RATE)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_lower_sample_rate_is_refused(tmp_path, noise, name):
    sf.write(tmp_path / name, noise, 8000)
    message = r"a\.\w+: sample rate 8000 Hz .*16000 Hz.* 4000 Hz .*resample"
    with pytest.raises(ValueError, match=message):
        inspect_audio(tmp_path / name, RATE)
    assert inspect_audio(tmp_path / name, 8000).sample_rate == 8000


def test_rate_that_cannot_be_resampled_is_refused(path, noise):
    sf.write(path, noise, 16001)
    with pytest.raises(ValueError, match=r"audio\.wav: cannot be converted"):
        inspect_audio(path, RATE)


def test_missing_file_is_named(path):
    with pytest.raises(ValueError, match=r"audio\.wav: cannot be read \(No"):
        inspect_audio(path, RATE)


def test_plain_wav_is_never_decoded(path, noise, monkeypatch):
    sf.write(path, noise, RATE)
    monkeypatch.setattr(audio_files.sf, "SoundFile", None)
    assert inspect_audio(path, RATE).num_samples == len(noise)


@pytest.mark.parametrize("num_workers", [None, 1, 3])
def test_many_files_keep_their_order(tmp_path, noise, num_workers):
    paths = []
    for index in range(1, 3 * audio_files.CHUNK_SIZE):
        paths.append(tmp_path / f"{index}.wav")
        sf.write(paths[-1], noise[: index + 1], RATE)
    paths[70].write_text("not audio")
    paths[5].write_text("")
    infos, problems = inspect_many(paths, RATE, num_workers)
    counts = [info and info.num_samples for info in infos]
    expected = [None if i in (5, 70) else i + 2 for i in range(len(paths))]
    assert counts == expected
    assert [problem.split(":")[0] for problem in problems] == [
        str(paths[5]),
        str(paths[70]),
    ]


def test_no_files_are_no_problem():
    assert inspect_many([], RATE) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "num_workers", "expected"),
    [(0.0, None, 1), (2e-3, None, 17), (2e-3, 1, 1), (0.0, 3, 3)],
    ids=["fast", "slow", "one", "three"],
)
def test_threads_are_for_disks_that_let_files_wait(
    monkeypatch, seconds, num_workers, expected
):
    """The caller first, then a pool of 16 where four chunks took long."""
    threads = set()

    def inspect(path, sample_rate):
        threads.add(threading.get_ident())
        time.sleep(seconds)
        return AudioInfo(int(path), sample_rate, 1)

    monkeypatch.setattr(audio_files, "inspect_audio", inspect)
    monkeypatch.setattr(audio_files, "CHUNK_SIZE", 2)
    paths = [str(i) for i in range(301)]
    infos, problems = inspect_many(paths, RATE, num_workers)
    assert [info.num_samples for info in infos] == list(range(301))
    assert problems == []
    assert len(threads) <= expected
    assert (len(threads) > 1) == (expected > 1)


def test_num_workers_must_be_positive():
    with pytest.raises(ValueError, match=r"num_workers \(0\) must be"):
        inspect_many([], RATE, num_workers=0)


def test_find_audio_is_sorted_and_follows_links(tmp_path):
    names = ["b/x.wav", "b-c/x.FLAC", "b/a/y.flac", "b/._x.wav", "b/x.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c").symlink_to(tmp_path / "b" / "a")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nowhere")
    found = find_audio(tmp_path)
    assert [os.path.relpath(path, tmp_path) for path in found] == [
        "b/a/y.flac",
        "b/x.wav",
        "b-c/x.FLAC",
        "broken.wav",
        "c/y.flac",
    ]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere")):
        find_audio(tmp_path / "nowhere")
