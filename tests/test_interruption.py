"""A training that is stopped, by whatever, goes on as if it had not been."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from interruption import stop_request
from recipe_commands import HPARAMS, RECIPE, ROOT, train, train_arguments
from speaker_brain import SpeakerBrain

# Of the eleventh step, in the middle of the second epoch of nine steps each.
ELEVENTH = 11


def weights(output):
    return torch.load(output / "model" / "embedding_model.ckpt")


def last_checkpoint(output):
    """Of the end of an epoch."""
    folders = [
        path.parent
        for path in output.glob("save/CKPT*/CKPT.yaml")
        if "end-of-epoch: true" in path.read_text()
    ]
    return max(folders)


def assert_same_training(output, expected):
    """Weights and optimiser bit for bit; the log, times excepted."""
    ours, theirs = weights(output), weights(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    ours, theirs = (
        torch.load(last_checkpoint(folder) / "optimizer.ckpt")["state"]
        for folder in (output, expected)
    )
    assert ours.keys() == theirs.keys()
    for number, state in theirs.items():
        for name, value in state.items():
            assert torch.equal(ours[number][name], value), (number, name)
    logs = [
        re.sub(
            r"utterances_per_second.*?data: [^ ,]+",
            "",
            (folder / "train_log.txt").read_text(),
        )
        for folder in (output, expected)
    ]
    assert logs[0] == logs[1]
    assert logs[0].count("epoch: ") == 2


@pytest.fixture
def at_step(monkeypatch):
    """Do something at the start of a step, counted from 1 over epochs."""
    fit_batch = SpeakerBrain.fit_batch

    def arrange(number, action):
        steps = []

        def act(self, batch):
            steps.append(batch.id)
            if len(steps) == number:
                action()
            return fit_batch(self, batch)

        monkeypatch.setattr(SpeakerBrain, "fit_batch", act)

    yield arrange
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGTERM, []),
        pytest.param(
            signal.SIGINT, ["--num_workers=2"], marks=pytest.mark.long
        ),
        pytest.param(signal.SIGUSR1, [], marks=pytest.mark.long),
    ],
)
def test_a_signal_saves_and_says_how_to_go_on(
    corpus, trained, tmp_path, at_step, capsys, number, options
):
    at_step(ELEVENTH, lambda: signal.raise_signal(number))
    with pytest.raises(SystemExit, match=str(128 + number)):
        train(corpus, tmp_path, *options)
    log = (tmp_path / "log.txt").read_text()
    assert f"saved in {tmp_path}/save: the same command goes on" in log
    assert not (tmp_path / "model").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    at_step(1, lambda: None)
    train(corpus, tmp_path, *options)
    assert_same_training(tmp_path, trained)


def test_a_signal_during_validation_loses_nothing(
    corpus, trained, tmp_path, monkeypatch
):
    """The epoch is validated when the training goes on."""
    start = SpeakerBrain.on_stage_start
    num_steps = []
    fit_batch = SpeakerBrain.fit_batch

    def stop(self, stage, epoch=None):
        start(self, stage, epoch)
        if stage.name == "VALID":
            signal.raise_signal(signal.SIGTERM)

    def count(self, batch):
        num_steps.append(batch.id)
        return fit_batch(self, batch)

    monkeypatch.setattr(SpeakerBrain, "on_stage_start", stop)
    with pytest.raises(SystemExit):
        train(corpus, tmp_path)
    assert not (tmp_path / "train_log.txt").exists()
    monkeypatch.setattr(SpeakerBrain, "on_stage_start", start)
    monkeypatch.setattr(SpeakerBrain, "fit_batch", count)
    train(corpus, tmp_path)
    assert len(num_steps) == 9  # those of the second epoch
    assert_same_training(tmp_path, trained)


@pytest.mark.parametrize(
    "num_workers", [0, pytest.param(2, marks=pytest.mark.long)]
)
def test_a_training_that_was_killed_goes_on_to_the_bit(
    corpus, trained, tmp_path, num_workers
):
    """By SIGKILL, in the middle of the second epoch; thrice in all."""
    arguments = train_arguments(
        corpus,
        tmp_path,
        "--ckpt_interval_steps=1",
        "--ckpt_interval_minutes=0",
        f"--num_workers={num_workers}",
    )
    command = [
        sys.executable,
        str(RECIPE / "train_speaker_embeddings.py"),
        *arguments,
    ]
    with subprocess.Popen(
        command, cwd=RECIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as process:
        log = tmp_path / "train_log.txt"
        expires = time.monotonic() + 120
        while time.monotonic() < expires and process.poll() is None:
            # The first epoch's line is written, then steps of the second.
            if log.exists() and newest_step(tmp_path) in range(2, 7):
                break
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    train(corpus, tmp_path, f"--num_workers={num_workers}")
    assert_same_training(tmp_path, trained)


def newest_step(output):
    """Step within its epoch that the newest checkpoint was saved at."""
    try:
        newest = max((output / "save").glob("CKPT*"))
        text = (newest / "brain.ckpt").read_text()
        return int(re.search(r"^step: (\d+)", text, re.MULTILINE)[1])
    except (OSError, ValueError, TypeError):  # being deleted or written
        return None


@pytest.mark.gpu
def test_the_gradient_scaler_goes_on_too(corpus, tmp_path, at_step):
    """SpeechBrain has none on the CPU."""
    options = ["--precision=fp16", "--device=cuda:0"]
    train(corpus, tmp_path / "whole", *options)
    scaler = last_checkpoint(tmp_path / "whole") / "scaler.ckpt"
    assert torch.load(scaler)["scale"] > 0
    at_step(ELEVENTH, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "stopped", *options)
    at_step(1, lambda: None)
    train(corpus, tmp_path / "stopped", *options)
    assert_same_training(tmp_path / "stopped", tmp_path / "whole")
    other = last_checkpoint(tmp_path / "stopped") / "scaler.ckpt"
    assert torch.load(other) == torch.load(scaler)


def test_a_wish_that_comes_twice_is_one_and_a_later_one_ends_at_once():
    forwarded = []
    before = signal.getsignal(signal.SIGINT)  # a background job ignores it
    with stop_request(forwarded.append) as request:
        assert not request
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert request
        assert request.exit_status == 143
        assert forwarded == [signal.SIGTERM]
        request.came_at -= 10
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.long
def test_a_table_that_is_stopped_saves_its_training(corpus, tmp_path):
    """`reproduce.py` alone gets the signal, and is typed again."""
    (tmp_path / "hparams").symlink_to(HPARAMS)
    table = tmp_path / "table.yaml"
    table.write_text(
        "title: T\nhparams: hparams/mfcon.yaml\nrows:\n  - {label: a}\n"
    )
    arguments = [
        word
        for word in train_arguments(corpus, tmp_path, "--num_epochs=12")
        if not word.startswith("--output_folder") and word.startswith("--")
    ]
    command = [
        sys.executable,
        str(RECIPE / "reproduce.py"),
        str(table),
        *arguments,
        "--num_resamples=20",
    ]

    def start():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with start() as process:
        expires = time.monotonic() + 120
        while not list(tmp_path.glob("runs/tables/*/train_log.txt")):
            assert time.monotonic() < expires
            time.sleep(0.05)
        process.terminate()
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    assert "go on with the same command" in printed
    (console,) = tmp_path.glob("runs/tables/*/console.txt")
    assert "Stopped, and saved in" in console.read_text()
    with start() as process:
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    (log,) = tmp_path.glob("runs/tables/*/train_log.txt")
    assert log.read_text().count("epoch: ") == 12
