"""Noises and rooms are found, and named where they cannot be used."""

import pytest
from augmentation_files import find_noises, find_rirs


def test_rooms_of_rirs_noises_leave_its_noises_out(tmp_path, write_wav):
    names = [
        "simulated_rirs/smallroom/Room001/Room001-00001.wav",
        "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far.wav",
        "real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
        "pointsource_noises/noise-free-sound-0000.wav",
    ]
    for name in names:
        write_wav(f"RIRS_NOISES/{name}", seconds=0.2)
    folder = tmp_path / "RIRS_NOISES"
    real = "RVB2014_type1_rir_largeroom1_far.wav"
    rooms = sorted(path.name for path in find_rirs(folder, 16000))
    assert rooms == [real, "Room001-00001.wav"]
    (room,) = find_rirs(folder / "real_rirs_isotropic_noises", 16000)
    assert room.name == real


def test_a_bad_noise_file_is_named_before_training(tmp_path, write_wav):
    write_wav("noise/good.wav")
    (tmp_path / "noise" / "bad.wav").write_text("not audio\n")
    with pytest.raises(ValueError, match=r"1 files for augmentation.*\n.*bad"):
        find_noises(tmp_path / "noise", 16000)
