"""A packed folder gives the samples of the files that went into it."""

import errno
import shutil

import numpy as np
import pytest
import soundfile
import torch

from custom_modules import packed
from custom_modules.audio import open_audio, read_audio
from custom_modules.packed import PackedFolder, list_packed, pack, split_path

RATE = 16000


@pytest.fixture
def files(tmp_path):
    """Files of every kind that is stored in another way."""
    rng = np.random.default_rng(0)
    kinds = [
        ("wav/id1/a/1.wav", RATE, 1, "PCM_16"),
        ("wav/id1/a/2.flac", RATE, 1, "PCM_16"),
        ("wav/id1/b/1.wav", RATE, 2, "PCM_16"),
        ("wav/id2/a/1.wav", 44100, 1, "PCM_24"),
        ("noise/é.wav", RATE, 3, "FLOAT"),
    ]
    files = {}
    for name, rate, channels, subtype in kinds:
        files[name] = tmp_path / "plain" / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        samples = rng.uniform(-1, 1, (5001, channels))
        soundfile.write(files[name], samples, rate, subtype=subtype)
    return files


@pytest.fixture
def folder(files, tmp_path):
    """Several large files: a new one is begun after 30,000 bytes."""
    pack(files.items(), tmp_path / "audio.packed", shard_bytes=30_000)
    return tmp_path / "audio.packed"


def test_segments_are_byte_identical(files, folder):
    """Whole, in part, of one channel, at another rate."""
    assert len(list(folder.glob("*.samples"))) > 1
    for name, path in files.items():
        for arguments in (
            (RATE,),
            (RATE, 100, 1000),
            (RATE, 17, None, 0),
            (8000, 3, 500),
        ):
            expected = read_audio(path, *arguments)
            assert torch.equal(read_audio(folder / name, *arguments), expected)


def test_a_packed_file_reads_as_soundfile_does(files, folder):
    for name, path in files.items():
        with open_audio(path) as file, open_audio(folder / name) as other:
            for field in ("frames", "samplerate", "channels"):
                assert getattr(other, field) == getattr(file, field)
            assert file.seek(5) == other.seek(5)
            for count in (7, 10_000):  # the second meets the end
                np.testing.assert_array_equal(
                    other.read(count, dtype="float32", always_2d=True),
                    file.read(count, dtype="float32", always_2d=True),
                )
            assert len(other.read(1)) == 0


def test_what_is_read_may_be_changed(folder):
    """A copy, not the map: another read gives the file's samples again."""
    for name in ("wav/id1/a/1.wav", "noise/é.wav"):
        first = read_audio(folder / name, RATE)
        expected = first.clone()
        first.zero_()
        assert torch.equal(read_audio(folder / name, RATE), expected)


def test_names_below_a_path(files, folder):
    assert sorted(list_packed(folder)) == sorted(files)
    below = list_packed(folder / "wav" / "id1")
    assert below == ["a/1.wav", "a/2.flac", "b/1.wav"]
    assert list_packed(folder / "wav" / "id9") == []
    assert list_packed(folder.parent) is None


def test_a_path_is_split_at_its_packed_folder():
    assert split_path("/a/b.packed/c/d.wav") == ("/a/b.packed", "c/d.wav")
    assert split_path("/a/b.packed/") == ("/a/b.packed", "")
    for plain in ("/a/b.packed.wav", "/a/packed/c.wav", "a.wav"):
        assert split_path(plain) is None


@pytest.mark.parametrize(
    "name", ["wav/id1/a/3.wav", "wav/id1", "zzz.wav", "a" * 300]
)
def test_a_name_that_is_not_in_it_is_an_error(folder, name):
    with pytest.raises(ValueError, match=r"cannot be read .*holds no"):
        read_audio(folder / name, RATE)


@pytest.mark.parametrize(("start", "size"), [(5001, 1), (6000, 1), (5000, 2)])
def test_a_segment_beyond_the_end_is_an_error(folder, start, size):
    message = r"1\.wav: (has no|cannot be read)"
    with pytest.raises(ValueError, match=message):
        read_audio(folder / "wav/id1/a/1.wav", RATE, start, size)


def damage_index(folder):
    (folder / "index.npz").write_bytes(b"PK\x03\x04 no zip")


def truncate_samples(folder):
    path = sorted(folder.glob("*.samples"))[-1]
    path.write_bytes(path.read_bytes()[:-10])


def remove_samples(folder):
    sorted(folder.glob("*.samples"))[0].unlink()


def remove_folder(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "damage", [damage_index, truncate_samples, remove_samples, remove_folder]
)
def test_a_damaged_folder_is_named(folder, damage):
    damage(folder)
    with pytest.raises(ValueError, match=r"audio\.packed.*copy"):
        PackedFolder(folder)


def test_what_cannot_be_packed_is_refused_and_nothing_is_left(files, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.packed"):
        pack(files.items(), tmp_path / "audio")
    with pytest.raises(ValueError, match="no audio files to pack"):
        pack([], tmp_path / "audio.packed")
    files["text.wav"] = tmp_path / "text.wav"
    files["text.wav"].write_text("404")
    with pytest.raises(ValueError, match=r"text\.wav: cannot be read"):
        pack(files.items(), tmp_path / "audio.packed")
    assert [p.name for p in tmp_path.glob("*packed*")] == []


def test_a_folder_that_is_there_is_not_overwritten(files, folder):
    with pytest.raises(ValueError, match="is there already"):
        pack(files.items(), folder)
    assert PackedFolder(folder).names()


def test_a_full_disk_leaves_nothing_behind(files, tmp_path, monkeypatch):
    def savez(path, **arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed.np, "savez", savez)
    with pytest.raises(OSError, match="No space"):
        pack(files.items(), tmp_path / "audio.packed")
    assert not list(tmp_path.glob("*.packed*"))
    assert not list(tmp_path.glob(".*"))


def test_pickled_objects_are_not_loaded(folder):
    """An index from a stranger runs no code."""
    np.savez(folder / "index.npz", name=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        PackedFolder(folder)
