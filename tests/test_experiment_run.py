"""Folders are named by what is trained."""

from pathlib import Path

import pytest
from experiment_run import run_folder
from recipe_commands import HPARAMS

MFCON = str(HPARAMS / "mfcon.yaml")


def name(overrides, hparams=MFCON, script="train_speaker_embeddings.py"):
    overrides = {"seed": 1986, **overrides}
    return run_folder(Path("runs"), script, hparams, overrides).name


def test_the_name_tells_yaml_file_and_seed():
    assert name({}).startswith("mfcon-")
    assert name({}).endswith("-1986")
    assert name({"seed": 7}).endswith("-7")


@pytest.mark.parametrize(
    "overrides",
    [
        {"margin": 0.3},
        {"pooling": "!ref <poolings[statistics]>"},
        {"num_pooling_heads": 8, "pooling": "!ref <poolings[multi_head]>"},
        {"contrastive": "!ref <triplet_loss>"},
        {"schedule": "!ref <cosine_schedule>"},
        {"data_folder": "elsewhere"},
        {"trials": "other.txt"},
        {"blocks": [0, 1]},
    ],
)
def test_another_model_gets_another_folder(overrides):
    assert name(overrides) != name({})


@pytest.mark.parametrize(
    "overrides",
    [
        {"margin": 0.2},  # the default
        {"output_folder": "elsewhere"},
        {"num_workers": 0},
        {"ckpt_interval_minutes": 1},
    ],
)
def test_the_same_model_keeps_its_folder(overrides):
    assert name(overrides) == name({})


def test_an_edited_yaml_file_gets_another_folder(tmp_path):
    (tmp_path / "models").symlink_to(HPARAMS / "models")
    copy = tmp_path / "mfcon.yaml"
    text = Path(MFCON).read_text()
    copy.write_text(text)
    assert name({}, str(copy)) == name({})
    copy.write_text(text.replace("margin: 0.2", "margin: 0.25", 1))
    assert name({}, str(copy)) != name({})
    assert name({}, str(copy)) == name({"margin": 0.25})
