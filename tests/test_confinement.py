"""No list names a file outside the data folder."""

import re

import pytest
from confinement import Confinement
from manifest import Manifest
from voxceleb1_layout import find_utterances

NAME = "wav/id10001/s/00001.wav"


@pytest.fixture
def data(tmp_path):
    """A data folder of one file, and a secret beside it."""
    path = tmp_path / "data" / NAME
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "00001.wav").touch()
    return tmp_path / "data"


def read(data, name):
    """The file of a manifest's only row."""
    path = data.parent / "train.csv"
    row = f"id10001/s/00001,1.0,{name},id10001"
    path.write_text(f"ID,duration,wav,spk_id\n{row}\n")
    return Manifest(path, data)[0].wav


def test_a_file_inside_is_given(data):
    assert read(data, f"$data_root/{NAME}") == f"{data}/{NAME}"
    assert list(find_utterances(data)) == ["id10001/s/00001"]


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "$data_root//etc/passwd",
        "$data_root/../secret/00001.wav",
        "$data_root/wav/id10001/../../../secret/00001.wav",
        "$data_root/wav/..",
        "$data_rootless/00001.wav",
        "secret/00001.wav",
    ],
)
def test_a_path_that_leaves_it_is_refused(data, name):
    message = r"train\.csv:2: .*(leaves the data folder|must begin with)"
    with pytest.raises(ValueError, match=message):
        read(data, name)


@pytest.mark.parametrize("level", ["utterance", "session", "speaker"])
def test_a_link_out_of_it_is_refused(data, level):
    """By the manifest, and where the audio is looked for."""
    name = {
        "utterance": "wav/id10001/s/00002.wav",
        "session": "wav/id10001/t/00001.wav",
        "speaker": "wav/id10002/s/00001.wav",
    }[level]
    secret = data.parent / "secret"
    if level == "utterance":
        (data / name).symlink_to(secret / "00001.wav")
    elif level == "session":
        (data / "wav/id10001/t").symlink_to(secret)
    else:
        (secret / "s").mkdir()
        (secret / "00001.wav").rename(secret / "s" / "00001.wav")
        (data / "wav/id10002").symlink_to(secret)
    message = f"{re.escape(name)} leaves the data folder"
    with pytest.raises(ValueError, match=message):
        read(data, f"$data_root/{name}")
    with pytest.raises(ValueError, match=message):
        find_utterances(data)


def test_links_within_it_and_the_folders_of_audio_may_be_links(data, tmp_path):
    """Users have VoxCeleb1 on another disk."""
    (data / "wav/id10001/t").symlink_to(data / "wav/id10001/s")
    linked = tmp_path / "linked"
    (linked / "dev").mkdir(parents=True)
    (linked / "dev" / "wav").symlink_to(data / "wav")
    (tmp_path / "all").symlink_to(linked)
    confinement = Confinement(str(tmp_path / "all"))
    confinement.check("dev/wav/id10001/t/00001.wav")
    found = find_utterances(tmp_path / "all")
    assert list(found) == ["id10001/s/00001", "id10001/t/00001"]
