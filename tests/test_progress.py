"""Lines in a log file, a bar on a terminal."""

import contextlib
import io
import logging
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import progress
import pytest
import speaker_brain
import train_speaker_embeddings
from progress import Pace, show_progress
from recipe_commands import train_arguments

RECIPE = Path(progress.__file__).parent
COMMAND = """
import logging, sys, time
sys.path.insert(0, {recipe!r})
import progress
logging.basicConfig(level=logging.INFO, format="%(message)s")
progress.Pace.__init__.__defaults__ = (0, 0.01, time.monotonic)
for _ in progress.show_progress(range(8), "Embeddings", "batch"):
    time.sleep(0.02)
"""


def run_to(stderr):
    command = [sys.executable, "-c", COMMAND.format(recipe=str(RECIPE))]
    subprocess.run(command, stderr=stderr, check=True)


def test_a_file_gets_lines_without_returns(tmp_path):
    path = tmp_path / "log"
    with open(path, "wb") as file:
        run_to(file)
    text = path.read_bytes()
    assert b"\r" not in text
    assert b"Embeddings: batch 8 of 8, 0:00 left\n" in text
    assert 2 <= text.count(b"\n") <= 8


def test_a_terminal_gets_a_bar():
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, 80))
    run_to(other)
    os.close(other)
    text = b""
    with contextlib.suppress(OSError):  # the end
        while part := os.read(main, 4096):
            text += part
    os.close(main)
    assert b"\r" in text
    assert b"Embeddings: " in text
    assert b" left" not in text


def test_lines_come_at_intervals_with_the_time_left():
    """One item a second of 100: a line each 30 s, the rest at that speed."""
    seconds = iter(range(1000))
    pace = Pace(5000, clock=lambda: next(seconds))
    said = [pace.step() for _ in range(70)]
    assert {i + 1: s for i, s in enumerate(said) if s} == {
        30: "30 of 5000, 1:22:50 left",
        60: "60 of 5000, 1:22:20 left",
    }


def test_the_speed_of_a_resumed_epoch_is_that_since():
    seconds = iter([0.0, 40.0])
    pace = Pace(100, done=80, clock=lambda: next(seconds))
    assert pace.step(10) == "90 of 100, 0:40 left"


@pytest.mark.parametrize("is_wanted", [True, False])
def test_every_item_is_given_once(is_wanted, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    items = iter("abc")
    with caplog.at_level(logging.INFO):
        shown = show_progress(items, "Files", "file", 3, is_wanted)
        assert list(shown) == ["a", "b", "c"]
    assert caplog.text == ""  # too soon for a line


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_training_tells_its_steps_where_there_is_no_terminal(
    corpus, tmp_path, monkeypatch, is_quiet
):
    monkeypatch.setattr(
        speaker_brain, "Pace", lambda total, done: Pace(total, done, 0.0)
    )
    words = train_arguments(corpus, tmp_path, "--num_epochs=1")
    if not is_quiet:
        words.remove("--noprogressbar")
    train_speaker_embeddings.main(words)
    log = (tmp_path / "log.txt").read_text()
    steps = re.findall(
        r"Epoch 1: step (\d+) of 9, \d+:\d\d left; loss \d+\.\d{3}, "
        r"\d+\.\d utterances/s\n",
        log,
    )
    expected = [] if is_quiet else [str(step) for step in range(1, 10)]
    assert steps == expected
    assert "\r" not in log


def test_no_command_uses_a_bar_of_its_own():
    for path in RECIPE.glob("*.py"):
        uses = re.search(r"^(from|import) tqdm", path.read_text(), re.M)
        assert bool(uses) == (path.name == "progress.py"), path
