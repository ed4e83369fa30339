"""Folders are named by what is trained."""

import json
from pathlib import Path

import experiment_run
import pytest
from experiment_run import Run, execute, is_finished, run_folder
from recipe_commands import HPARAMS

MFCON = str(HPARAMS / "mfcon.yaml")


def name(overrides, hparams=MFCON):
    overrides = {"seed": 1986, **overrides}
    script = "train_speaker_embeddings.py"
    return run_folder(Path("runs"), script, hparams, overrides, []).name


@pytest.fixture
def run(tmp_path):
    """A verification that took place, as far as files tell."""
    made = Run(
        tmp_path / "run",
        "train_speaker_embeddings.py",
        MFCON,
        {},
        [],
        {"num_resamples": 20},
        "verification",
        "f" * 64,
    )
    made.report.parent.mkdir(parents=True)
    made.report.write_text(json.dumps({"trials_sha256": "f" * 64}))
    settings = experiment_run._settings(made)
    made.report.with_name("settings.json").write_text(json.dumps(settings))
    return made


def test_a_report_of_the_same_settings_is_finished(run):
    assert is_finished(run)
    paced = {"num_resamples": 20, "num_workers": 0}
    assert is_finished(run._replace(verification=paced))
    assert not is_finished(run._replace(verification={"num_resamples": 30}))
    assert not is_finished(run._replace(verification={}))


def test_a_report_of_another_trial_list_is_not_finished(run):
    assert not is_finished(run._replace(trials_sha256="e" * 64))


def test_a_report_whose_settings_were_not_written_is_not_finished(run):
    run.report.with_name("settings.json").unlink()
    assert not is_finished(run)


def test_a_folder_is_not_trained_in_twice_at_a_time(run, monkeypatch):
    def call(*arguments):
        with pytest.raises(ValueError, match="another process works there"):
            execute(run, 1)

    monkeypatch.setattr(experiment_run, "_call", call)
    execute(run, 1)


def test_a_killed_command_leaves_no_finished_report(run, monkeypatch):
    def call(launcher, run, script, *rest):
        if script == "verify.py":
            raise KeyboardInterrupt

    monkeypatch.setattr(experiment_run, "_call", call)
    with pytest.raises(KeyboardInterrupt):
        execute(run, 1)
    assert not is_finished(run)


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
        {"more_loggers": "[!ref <tensorboard>]", "wandb_mode": "online"},
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
