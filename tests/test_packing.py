"""Packing writes all of a folder, or nothing."""

import errno

import pytest

from custom_modules import packing
from custom_modules.packed import PackedFolder
from custom_modules.packing import pack


def test_what_cannot_be_packed_is_refused_and_nothing_is_left(
    audio_files_of_every_kind, tmp_path
):
    files = audio_files_of_every_kind
    with pytest.raises(ValueError, match=r"ends in \.packed"):
        pack(files.items(), tmp_path / "audio")
    with pytest.raises(ValueError, match="no audio files to pack"):
        pack([], tmp_path / "audio.packed")
    files["text.wav"] = tmp_path / "text.wav"
    files["text.wav"].write_text("404")
    with pytest.raises(ValueError, match=r"text\.wav: cannot be read"):
        pack(files.items(), tmp_path / "audio.packed")
    assert [p.name for p in tmp_path.glob("*packed*")] == []


def test_a_folder_that_is_there_is_not_overwritten(
    audio_files_of_every_kind, tmp_path
):
    folder = tmp_path / "audio.packed"
    pack(audio_files_of_every_kind.items(), folder)
    with pytest.raises(ValueError, match="is there already"):
        pack(audio_files_of_every_kind.items(), folder)
    assert PackedFolder(folder).names()


def test_a_full_disk_leaves_nothing_behind(
    audio_files_of_every_kind, tmp_path, monkeypatch
):
    def savez(path, **arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.np, "savez", savez)
    with pytest.raises(OSError, match="No space"):
        pack(audio_files_of_every_kind.items(), tmp_path / "audio.packed")
    assert not list(tmp_path.glob("*.packed*"))
    assert not list(tmp_path.glob(".*"))
