"""What goes wrong during a training: one clear error, and nothing is lost."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from command import run
from folder_use import using
from recipe_commands import RECIPE, ROOT, train, train_arguments
from speaker_brain import SpeakerBrain
from test_interruption import assert_same_training
from train_speaker_embeddings import LOCK, main


def run_command(monkeypatch, capsys, *arguments):
    """The training command as a user runs it: exit status and errors."""
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        run(main, is_for_several=True)
    lines = capsys.readouterr().err.splitlines()
    return exit_info.value.code, [x for x in lines if x.startswith("error: ")]


def before_step(monkeypatch, number, action):
    """Do something with the Brain before a step, counted from 1."""
    fit_batch = SpeakerBrain.fit_batch
    steps = []

    def act(self, batch):
        steps.append(batch.id)
        if len(steps) == number:
            action(self, batch)
        return fit_batch(self, batch)

    monkeypatch.setattr(SpeakerBrain, "fit_batch", act)


def test_a_killed_worker_ends_in_one_line(
    corpus, trained, tmp_path, monkeypatch, capsys
):
    """From the checkpoint before, the training goes on to the same weights."""

    def kill(brain, batch):
        iterator = brain.checkpointer.recoverables["dataloader-TRAIN"]._iterator
        os.kill(iterator._workers[0].pid, signal.SIGKILL)
        iterator._workers[0].join()

    with monkeypatch.context() as patch:
        before_step(patch, 11, kill)
        status, errors = run_command(
            patch,
            capsys,
            *train_arguments(corpus, tmp_path, "--num_workers=1"),
        )
    assert status == 2
    assert len(errors) == 1
    assert "a worker that reads files was ended" in errors[0]
    assert "The same command goes on from the last checkpoint" in errors[0]
    train(corpus, tmp_path)
    assert_same_training(tmp_path, trained)


def test_a_full_disk_loses_no_checkpoint(
    corpus, trained, tmp_path, monkeypatch, capsys
):
    """No file above 4 kB can be written from the eleventh step on."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(brain, batch):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        brain.ckpt_interval_steps = 1

    try:
        with monkeypatch.context() as patch:
            before_step(patch, 11, fill)
            status, errors = run_command(
                patch, capsys, *train_arguments(corpus, tmp_path)
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 2
    assert f"{tmp_path}/save: a checkpoint cannot be written" in errors[0]
    assert not list(tmp_path.glob("save/partial-*"))
    train(corpus, tmp_path)
    assert_same_training(tmp_path, trained)


def test_a_folder_that_cannot_be_written_is_named_first():
    """As another user, for root may write everywhere; not so where it can."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # tmp_path is the user's alone
        folder = Path(name) / "results"
        folder.mkdir()
        Path(name).chmod(0o755)
        folder.chmod(0o777)
        if user == 0:
            os.seteuid(65534)
        try:
            with using(folder, "lock"):
                pass
            (folder / "lock").unlink()
        finally:
            os.seteuid(user)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        message = r"results: nothing can be written there \(Permission denied\)"
        try:
            with pytest.raises(OSError, match=message), using(folder, "lock"):
                pass
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_results_below_a_file_are_refused_before_any_work(
    corpus, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    arguments = train_arguments(corpus, tmp_path / "file" / "out")
    status, errors = run_command(monkeypatch, capsys, *arguments)
    assert status == 2
    assert len(errors) == 1
    assert f"{tmp_path}/file/out" in errors[0]


def test_a_second_run_in_a_folder_is_refused(corpus, tmp_path):
    with (
        using(tmp_path, LOCK),
        pytest.raises(ValueError, match="another process works there"),
    ):
        train(corpus, tmp_path)
    assert not list((tmp_path / "save").iterdir())


def spoil_two(data):
    """Remove one training file and cut another short; their paths."""
    removed, cut = sorted((data / "wav").rglob("*.wav"))[4:40:20]
    removed.unlink()
    cut.write_bytes(cut.read_bytes()[:60])
    return removed, cut


@pytest.mark.parametrize(
    "num_workers", [0, pytest.param(2, marks=pytest.mark.long)]
)
def test_files_that_vanish_are_replaced_counted_and_named(
    copied, tmp_path, monkeypatch, num_workers
):
    output = tmp_path / "out"
    spoilt = []
    before_step(
        monkeypatch, 1, lambda brain, batch: spoilt.extend(spoil_two(copied))
    )
    train(copied, output, f"--num_workers={num_workers}", "--num_epochs=3")
    log = (output / "log.txt").read_text()
    warnings = log.split("Epoch 3: ")[1]
    assert warnings.startswith("2 files could no longer be read")
    for path in spoilt:
        assert f"{path}: " in warnings
    assert (output / "train_log.txt").read_text().count("epoch: ") == 3


def test_above_max_bad_files_the_run_stops(
    copied, tmp_path, monkeypatch, capsys
):
    """And goes on when they are repaired."""
    output = tmp_path / "out"
    arguments = train_arguments(copied, output, "--max_bad_files=1")
    wavs = Path(shutil.copytree(copied / "wav", tmp_path / "kept"))
    with monkeypatch.context() as patch:
        before_step(patch, 1, lambda brain, batch: spoil_two(copied))
        status, errors = run_command(patch, capsys, *arguments)
    assert status == 2
    assert "more than max_bad_files (1): 2 files could" in errors[0]
    shutil.copytree(wavs, copied / "wav", dirs_exist_ok=True)
    main(arguments)
    assert (output / "model").exists()


def test_a_disk_that_is_gone_stops_the_run(copied, tmp_path, monkeypatch):
    before_step(
        monkeypatch,
        1,
        lambda brain, batch: (copied / "wav").rename(copied / "gone"),
    )
    message = "10 files in a row cannot be read any more: is the disk there"
    with pytest.raises(ValueError, match=message):
        train(copied, tmp_path / "out")


def test_want_of_memory_says_what_was_tried(
    corpus, tmp_path, monkeypatch, capsys
):
    """The allocator's own error, for more than any machine has."""

    def forward(self, batch, stage):
        torch.empty(2**60)

    monkeypatch.setattr(SpeakerBrain, "compute_forward", forward)
    arguments = train_arguments(corpus, tmp_path)
    status, errors = run_command(monkeypatch, capsys, *arguments)
    assert status == 2
    expected = "out of memory with a batch of 8 crops of 0.5 s, with augmented"
    assert expected in errors[0]
    assert "lower --batch_size or --sentence_len" in errors[0]


def test_checkpoints_are_saved_though_the_clock_goes_back(
    corpus, tmp_path, monkeypatch
):
    """An hour at each step: the intervals are those of a steady clock."""
    now, jumps = time.time, []
    monkeypatch.setattr(time, "time", lambda: now() - 3600 * len(jumps))
    fit_batch = SpeakerBrain.fit_batch

    def jump(self, batch):
        jumps.append(batch.id)
        self.ckpt_interval_minutes = 1e-6
        return fit_batch(self, batch)

    monkeypatch.setattr(SpeakerBrain, "fit_batch", jump)
    saved = []
    save = SpeakerBrain._save_intra_epoch_ckpt

    def count(self):
        saved.append(self.step)
        save(self)

    monkeypatch.setattr(SpeakerBrain, "_save_intra_epoch_ckpt", count)
    train(corpus, tmp_path)
    assert saved == [*range(1, 10), 9, *range(1, 10), 9]  # 9: after the epoch
    texts = [p.read_text() for p in tmp_path.glob("save/CKPT*/CKPT.yaml")]
    newest = max(texts, key=lambda text: text.split("unixtime: ")[1])
    assert "epoch: 2\n" in newest


def start_two(corpus, output, *overrides):
    """Train under torchrun; the process, for the test to disturb."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(
                "--nproc_per_node=2",
                str(RECIPE / "train_speaker_embeddings.py"),
            ),
            *train_arguments(corpus, output, "--device=cpu", *overrides),
        ],
        cwd=RECIPE,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=120):
    """Until something is so."""
    expires = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < expires, "it never came to that"
        time.sleep(0.05)


def children(pid):
    """Processes that a process started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_when_a_process_is_killed_the_other_ends_within_a_minute(
    corpus, tmp_path, rank
):
    with start_two(corpus, tmp_path, "--num_epochs=1000") as launcher:
        log = tmp_path / "train_log.txt"
        wait_for(lambda: log.exists() and log.stat().st_size)
        pids = children(launcher.pid)
        assert len(pids) == 2
        os.kill(pids[rank], signal.SIGKILL)
        launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.long
def test_a_signal_to_the_launcher_saves_too(corpus, tmp_path):
    """As Slurm sends it; both processes save, and a new run goes on."""
    with start_two(corpus, tmp_path, "--num_epochs=1000") as launcher:
        log = tmp_path / "train_log.txt"
        wait_for(lambda: log.exists() and log.stat().st_size)
        launcher.terminate()
        launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert "the same command goes on" in (tmp_path / "log.txt").read_text()
    epochs = log.read_text().count("epoch: ")
    with start_two(corpus, tmp_path, f"--num_epochs={epochs + 1}") as launcher:
        _, errors = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, errors
    assert log.read_text().count("epoch: ") == epochs + 1


@pytest.mark.long
def test_no_process_steps_where_the_loss_of_one_is_not_finite(corpus, tmp_path):
    """The utterances of both are named; patience ends both."""
    with start_two(
        corpus, tmp_path, "--contrastive=!new:modules_for_tests.NaNOnRank1"
    ) as launcher:
        _, errors = launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert "patience is exhausted" in errors
    log = (tmp_path / "log.txt").read_text()
    named = log.split("no step is taken. Utterances: ")[1].splitlines()[0]
    assert named.count("/") == 2 * 8  # speaker/session/utterance
    assert not (tmp_path / "model").exists()
