"""A packed folder gives the samples of the files that went into it."""

import shutil

import numpy as np
import pytest
import torch

from custom_modules.audio import open_audio, read_audio
from custom_modules.packed import PackedFolder, list_packed, split_path
from custom_modules.packing import pack

RATE = 16000


@pytest.fixture
def folder(audio_files_of_every_kind, tmp_path):
    """Several large files: a new one is begun after 30,000 bytes."""
    pack(
        audio_files_of_every_kind.items(),
        tmp_path / "audio.packed",
        shard_bytes=30_000,
    )
    return tmp_path / "audio.packed"


def test_segments_are_byte_identical(audio_files_of_every_kind, folder):
    """Whole, in part, of one channel, at another rate."""
    assert len(list(folder.glob("*.samples"))) > 1
    for name, path in audio_files_of_every_kind.items():
        for arguments in (
            (RATE,),
            (RATE, 100, 1000),
            (RATE, 17, None, 0),
            (8000, 3, 500),
        ):
            expected = read_audio(path, *arguments)
            assert torch.equal(read_audio(folder / name, *arguments), expected)


def test_a_packed_file_reads_as_soundfile_does(
    audio_files_of_every_kind, folder
):
    for name, path in audio_files_of_every_kind.items():
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


def test_names_below_a_path(audio_files_of_every_kind, folder):
    assert sorted(list_packed(folder)) == sorted(audio_files_of_every_kind)
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


def test_pickled_objects_are_not_loaded(folder):
    """An index from a stranger runs no code."""
    np.savez(folder / "index.npz", name=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        PackedFolder(folder)
