"""A training of thousands of steps holds no more at its end than before."""

import json
import mmap
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from benchmarks import process_usage, soak
from benchmarks.process_usage import Usage
from benchmarks.soak import Sample

RESULT = Path(__file__).parents[1] / "results" / "soak" / "soak.json"
NUM_STEPS = 2000
# A batch in flight has 7 tensors, each of which has a handle; of a few steps
# no look may find none.
IN_FLIGHT = 14
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are looked at in /proc"
)


def made_up(main_leak=0.0, worker_leak=0.0, handles=0.0, threads=0.0):
    """Looks at a training that gains so much in each 1,000 steps.

    It grows by 50 MB in the first quarter, as all do; a fifth of the looks
    meet a validation, with its workers, and a few meet their fork.
    """
    rng = np.random.default_rng(0)
    samples = []
    for step in range(0, NUM_STEPS + 1, 10):
        part, warmup = step / 1000, 50 * min(1, 4 * step / NUM_STEPS)
        share = 0.5 if step % 400 == 0 else 1.0
        main = Usage(
            share * (300 + warmup + main_leak * part + rng.normal()),
            15 + int(handles * part) + int(rng.integers(2)),
            5 + int(threads * part),
        )
        worker = Usage(150 + worker_leak * part / 2 + rng.normal(), 12, 4)
        others = [worker] * (4 if rng.random() < 0.2 else 2)
        samples.append(Sample(step, main, others))
    return samples


def missed(samples, num_left=0):
    """What grew, of made-up samples."""
    summary = soak.summarise(samples, NUM_STEPS)
    targets = soak.make_targets(summary, num_left)
    return [t.what for t in targets if not t.as_dict()["is_met"]]


def test_what_holds_no_more_meets_every_bound():
    assert missed(made_up()) == []


@pytest.mark.parametrize(
    ("leak", "what"),
    [
        ({"main_leak": 10.0}, "main: memory"),
        ({"worker_leak": 10.0}, "workers: memory"),
        ({"handles": 3.0}, "main: more handles"),
        ({"threads": 1.0}, "main: more threads"),
    ],
)
def test_a_leak_is_found(leak, what):
    assert missed(made_up(**leak)) == [what]


def test_a_process_that_is_left_is_found():
    assert missed(made_up(), num_left=1) == ["left"]


def test_the_growth_is_that_of_the_second_half():
    """The leak that was put in; the warm-up does not count."""
    summary = soak.summarise(made_up(main_leak=20.0), NUM_STEPS)
    assert summary["main"]["mb_per_1000_steps"] == pytest.approx(20, abs=2)
    assert summary["workers"]["mb_per_1000_steps"] == pytest.approx(0, abs=2)


def test_workers_that_do_not_end_are_an_error():
    samples = [
        sample._replace(others=sample.others * 2) for sample in made_up()
    ]
    with pytest.raises(ValueError, match="with up to 8"):
        soak.summarise(samples, NUM_STEPS)


@ON_LINUX
@pytest.mark.parametrize("kind", list(process_usage.MEMORY))
def test_memory_handles_and_threads_are_seen(kind, tmp_path):
    """Of this process, before and after it takes more."""
    if kind == "PSS" and process_usage.memory_kind() != "PSS":
        pytest.skip("this kernel does not tell it")
    before = process_usage.read_usage(os.getpid(), kind)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with open(tmp_path / "file", "wb"):
        # Of the system, not of what earlier tests freed and malloc keeps.
        block = mmap.mmap(-1, 2**26)
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        after = process_usage.read_usage(os.getpid(), kind)
    end.set()
    thread.join()
    assert after.handles == before.handles + 1
    assert after.threads == before.threads + 1
    grown = after.megabytes - before.megabytes
    assert grown == pytest.approx(len(block) / 1e6, abs=10)


@ON_LINUX
def test_an_orphan_is_seen():
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        orphan = int(process.stdout.readline())
        process.wait()
        assert process_usage.processes_of(process.pid) == {orphan}
        os.kill(orphan, 9)


@pytest.mark.long
@ON_LINUX
def test_a_training_that_fails_is_shown(corpus, tmp_path):
    """By its last words."""
    arguments = [f"--data_folder={corpus}", f"--output={tmp_path}"]
    with pytest.raises(ValueError, match="ended with status"):
        soak.main([*arguments, "--steps=-9"])


def check(content):
    """All fields are there, and nothing was left or grew but memory."""
    for key in ("machine", "commit", "settings", "memory", "num_samples"):
        assert content[key], key
    assert content["seconds"] > 0
    targets = {target["what"]: target for target in content["targets"]}
    assert len(targets) == 7
    for who in ("main", "workers"):
        assert f"{who}: memory" in targets
        for key in ("mb", "handles", "threads"):
            assert min(content[who][key].values()) > 0
    assert targets["left"]["is_met"]
    return targets


@ON_LINUX
def test_a_short_soak(corpus, tmp_path, capsys):
    """Of 8 epochs of 9 steps each."""
    soak.main(
        [
            f"--data_folder={corpus}",
            f"--output={tmp_path}",
            *("--steps=72", "--ckpt_interval_steps=3", "--interval=0.02"),
        ]
    )
    content = json.loads((tmp_path / "soak.json").read_text())
    assert content["steps"] == 72
    assert content["num_validations"] == 8
    # Thrice within an epoch, at its last step once more, after validation.
    assert content["num_checkpoints"] == 8 * 5
    targets = check(content)
    for who in ("main", "workers"):
        assert targets[f"{who}: more threads"]["is_met"]
        assert targets[f"{who}: more handles"]["value"] <= IN_FLIGHT
    assert "72 steps in " in capsys.readouterr().out


@pytest.mark.long
@ON_LINUX
def test_a_training_of_2000_steps_does_not_grow(tmp_path):
    soak.main([f"--output={tmp_path}", f"--steps={NUM_STEPS}"])
    content = json.loads((tmp_path / "soak.json").read_text())
    assert content["steps"] == NUM_STEPS
    targets = check(content)
    assert all(target["is_met"] for target in targets.values()), targets


def test_the_soak_that_is_committed_met_its_bounds():
    content = json.loads(RESULT.read_text())
    assert content["steps"] >= NUM_STEPS
    assert content["num_checkpoints"] > content["num_validations"] >= 100
    targets = check(content)
    for target in targets.values():
        assert target["value"] <= target["bound"], target
    growth = targets["main: memory"], targets["workers: memory"]
    assert {target["bound"] for target in growth} == {soak.MAX_GROWTH}
    assert "dirty" not in content["commit"]
    assert not re.search(r'"/', RESULT.read_text())  # no path of a machine
