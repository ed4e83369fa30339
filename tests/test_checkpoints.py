"""Interrupted saves, damaged and foreign checkpoints, the random state."""

import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from ranks import run_on_ranks
from speechbrain.utils.checkpoints import (
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import nn
from training_statistics import TrainingStatistics

from custom_modules.checkpoints import (
    AtomicCheckpointer,
    RandomState,
    load_strictly,
)
from custom_modules.checksums import write_checksums
from custom_modules.distributed import mean_over_ranks, process_rank


@register_checkpoint_hooks
class Fragile:
    """A recoverable whose save may be interrupted."""

    is_broken = False

    @mark_as_saver
    def save(self, path):
        Path(path).write_text("half")
        if self.is_broken:
            raise KeyboardInterrupt

    @mark_as_loader
    def load(self, path, end_of_epoch):
        assert Path(path).read_text() == "half"


class Malice:
    """Touches a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def interrupt(checkpointer_class, folder):
    """Save a layer of ones, then be interrupted saving one of twos."""
    layer, fragile = nn.Linear(2, 2), Fragile()
    recoverables = {"layer": layer, "fragile": fragile}
    checkpointer = checkpointer_class(folder, recoverables)
    nn.init.constant_(layer.weight, 1.0)
    first = checkpointer.save_checkpoint()
    nn.init.constant_(layer.weight, 2.0)
    fragile.is_broken = True
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint()
    fragile.is_broken = False
    return checkpointer, layer, first


def test_an_interrupted_save_leaves_the_checkpoint_before_it(tmp_path):
    checkpointer, layer, first = interrupt(AtomicCheckpointer, tmp_path)
    found = [checkpoint.path for checkpoint in checkpointer.list_checkpoints()]
    assert found == [first.path]
    assert checkpointer.recover_if_possible().path == first.path
    assert (layer.weight == 1.0).all()


def test_speechbrains_checkpointer_finds_the_interrupted_save(tmp_path):
    """What ours is for; where this fails, it is needed no more."""
    checkpointer, _, _ = interrupt(Checkpointer, tmp_path)
    assert len(checkpointer.list_checkpoints()) == 2


def test_the_next_save_removes_what_an_interrupted_one_left(tmp_path):
    checkpointer, _, first = interrupt(AtomicCheckpointer, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    second = checkpointer.save_checkpoint()
    assert {*tmp_path.iterdir()} == {first.path, second.path}
    for path in second.paramfiles.values():
        assert path.is_file()


def save_two(folder):
    """Checkpoints of a layer of ones, then of twos."""
    layer = nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(folder, {"layer": layer})
    for value in (1.0, 2.0):
        nn.init.constant_(layer.weight, value)
        last = checkpointer.save_checkpoint()
    return layer, last


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "a bit flipped": flip_a_bit,
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("name", ["layer.ckpt", "CKPT.yaml", "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, name, caplog):
    _, last = save_two(tmp_path)
    DAMAGES[damage](last.path / name)
    layer = nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    checkpointer.check_modules()
    checkpointer.recover_if_possible()
    assert (layer.weight == 1.0).all()
    assert caplog.text.count(f"{last.path} is damaged") == 1
    nn.init.constant_(layer.weight, 3.0)
    checkpointer.save_and_keep_only()
    assert len(checkpointer.list_checkpoints()) == 1
    assert last.path.exists()  # the user's to delete
    nn.init.zeros_(layer.weight)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    checkpointer.recover_if_possible()
    assert (layer.weight == 3.0).all()


def test_without_a_whole_checkpoint_nothing_is_begun_anew(tmp_path):
    layer, last = save_two(tmp_path)
    for path in tmp_path.iterdir():
        (path / "layer.ckpt").unlink()
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    message = r"layer.ckpt is missing.*no whole checkpoint.*delete it"
    with pytest.raises(ValueError, match=message):
        checkpointer.check_modules()
    assert last.path.exists()


def test_the_last_checkpoint_is_the_last_though_the_clock_went_back(
    tmp_path, monkeypatch
):
    layer = nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    now = time.time()
    for hours in (0, -2, -1):
        monkeypatch.setattr(time, "time", lambda at=now + 3600 * hours: at)
        nn.init.constant_(layer.weight, hours)
        checkpointer.save_and_keep_only(num_to_keep=2)
    checkpointer.recover_if_possible()
    assert (layer.weight == -1.0).all()


def test_a_full_disk_leaves_the_checkpoint_before_and_no_remains(tmp_path):
    """Files above a size cannot be written, as where there is no room."""
    layer = nn.Linear(64, 64)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    first = checkpointer.save_checkpoint()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot be written.*make room"):
            checkpointer.save_checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == [first.path]
    assert checkpointer.save_checkpoint() is not None


def test_nothing_is_run_that_a_checkpoint_holds(tmp_path):
    """Of whatever kind, however well its checksums fit."""
    layer = nn.Linear(2, 2)
    recoverables = {
        "layer": layer,
        "random": RandomState(),
        "statistics": TrainingStatistics(),
        "optimizer": torch.optim.Adam(layer.parameters()),
        "scaler": torch.GradScaler("cpu"),
    }
    checkpoint = AtomicCheckpointer(tmp_path, recoverables).save_checkpoint()
    for name in recoverables:
        folder = tmp_path / name
        shutil.copytree(checkpoint.path, folder / checkpoint.path.name)
        (path,) = folder.rglob(f"{name}.ckpt")
        torch.save({"weight": Malice(folder / "harm")}, path)
        write_checksums(path.parent)
        checkpointer = AtomicCheckpointer(folder, recoverables)
        with pytest.raises(ValueError, match="Weights only load failed"):
            checkpointer.recover_if_possible()
        assert not (folder / "harm").exists()


def test_the_best_and_the_last_checkpoint_are_kept(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": nn.Linear(2, 2)})
    kept = []
    for eer in (3.0, 1.0, 2.0, 4.0, 0.5):
        checkpointer.save_and_keep_only(meta={"eer": eer}, min_keys=["eer"])
        found = checkpointer.list_checkpoints()
        kept.append({checkpoint.meta["eer"] for checkpoint in found})
    assert kept == [{3.0}, {1.0}, {1.0, 2.0}, {1.0, 4.0}, {0.5}]
    assert checkpointer.find_checkpoint(min_key="eer").meta["eer"] == 0.5


def test_a_name_given_twice_names_the_second(tmp_path):
    layer = nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    checkpointer.save_checkpoint(name="best")
    nn.init.constant_(layer.weight, 2.0)
    checkpoint = checkpointer.save_checkpoint(name="best")
    assert [*tmp_path.iterdir()] == [checkpoint.path]
    nn.init.zeros_(layer.weight)
    checkpointer.recover_if_possible()
    assert (layer.weight == 2.0).all()


@pytest.mark.parametrize(
    "other",
    [nn.Linear(2, 3), nn.Linear(2, 2, bias=False), nn.PReLU()],
    ids=["wider", "without bias", "another"],
)
def test_another_architectures_checkpoint_is_refused(tmp_path, other):
    state = RandomState()
    saved = {"layer": nn.Linear(2, 2), "state": state}
    AtomicCheckpointer(tmp_path, saved).save_checkpoint()
    checkpointer = AtomicCheckpointer(
        tmp_path, {"layer": other, "state": state}
    )
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ValueError, match="is of another architecture"):
        checkpointer.check_modules()
    for key, value in other.state_dict().items():
        assert torch.equal(value, before[key])
    with pytest.raises(ValueError, match="does not fit this model"):
        checkpointer.recover_if_possible()


def test_a_checkpoint_without_one_of_the_modules_is_refused(tmp_path):
    layer = nn.Linear(2, 2)
    AtomicCheckpointer(tmp_path, {"layer": layer}).save_checkpoint()
    both = {"layer": layer, "classifier": nn.Linear(2, 2)}
    checkpointer = AtomicCheckpointer(tmp_path, both)
    with pytest.raises(ValueError, match="has no classifier"):
        checkpointer.check_modules()
    with pytest.raises(ValueError, match="does not fit this model"):
        checkpointer.recover_if_possible()


def test_the_same_architecture_passes_the_check(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": nn.Linear(2, 2)})
    checkpointer.check_modules()  # nothing saved: nothing to compare
    checkpointer.save_checkpoint()
    checkpointer.check_modules()


def test_a_recovered_random_state_repeats_dropout(tmp_path):
    dropout, x = nn.Dropout(0.5), torch.ones(1000)
    checkpointer = AtomicCheckpointer(tmp_path, {"random": RandomState()})
    torch.manual_seed(0)
    checkpointer.save_checkpoint()
    first, second = dropout(x), dropout(x)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    checkpointer.recover_if_possible()
    assert torch.equal(dropout(x), first)
    assert torch.equal(dropout(x), second)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"weight": torch.zeros(2, 2)}, "Missing key.*bias"),
        ({**nn.Linear(2, 2).state_dict(), "more": torch.zeros(1)}, "more"),
        ({**nn.Linear(3, 2).state_dict()}, "size mismatch for weight"),
        (torch.zeros(2), "dict"),
    ],
    ids=["missing", "unexpected", "shape", "no state dict"],
)
def test_parameters_load_whole_or_not_at_all(tmp_path, state, reason):
    path = tmp_path / "model.ckpt"
    torch.save(state, path)
    message = rf"{path} does not fit the model .*{reason}"
    with pytest.raises(ValueError, match=message):
        load_strictly(nn.Linear(2, 2), path)


def test_a_file_that_is_no_state_dict_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="does not fit the model"):
        load_strictly(nn.Linear(2, 2), path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.ckpt.*No such file"):
        load_strictly(nn.Linear(2, 2), tmp_path / "model.ckpt")


def test_nothing_is_run_that_a_parameter_file_holds(tmp_path):
    path, harm = tmp_path / "model.ckpt", tmp_path / "harm"
    torch.save({"weight": Malice(harm)}, path)
    with pytest.raises(ValueError, match="does not fit the model"):
        load_strictly(nn.Linear(2, 2), path)
    assert not harm.exists()
    torch.load(path, weights_only=False)
    assert harm.exists()  # the file would have done it


def draw_after_loading(folder):
    """What each process draws after saving, and again after loading."""
    torch.manual_seed(100 + process_rank())
    state = RandomState()
    state.save(f"{folder}/state")
    first = torch.rand(3)
    mean_over_ranks(first)  # all have saved
    state.load(f"{folder}/state", end_of_epoch=True)
    return first, torch.rand(3)


def test_each_process_goes_on_with_its_own_random_state(tmp_path):
    drawn = run_on_ranks(draw_after_loading, 2, tmp_path / "r", str(tmp_path))
    for first, again in drawn:
        assert torch.equal(first, again)
    assert not torch.equal(drawn[0][0], drawn[1][0])
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    RandomState().load(tmp_path / "state", end_of_epoch=True)  # one, not two
    assert torch.equal(torch.rand(2), expected)
