"""A training starts from another: what is taken over, what is refused."""

import json
import re
import shutil

import pytest
import torch
from recipe_commands import train
from starting_point import read_source, start_from
from torch import nn

FROZEN = ["--num_epochs=1", "--lr=1e-30"]  # the parameters stay


def state_of(output):
    path = output / "model" / "embedding_model.ckpt"
    return torch.load(path, weights_only=True)


def training_of(output):
    return json.loads((output / "model" / "training.json").read_text())


def log_of(output):
    return (output / "log.txt").read_text()


def assert_same_parameters(one, other):
    """Batch norm's statistics follow the data; the parameters do not."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, other[key], atol=1e-9, rtol=0)


def last_classifier(output):
    checkpoint = max(output.glob("save/CKPT*"), key=lambda p: p.stat().st_mtime)
    return torch.load(checkpoint / "classifier.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def continued(corpus, trained, tmp_path_factory):
    """A training that starts from a finished one, and changes nothing."""
    output = tmp_path_factory.mktemp("continued")
    train(corpus, output, f"--init_from={trained}", *FROZEN)
    return output


def test_the_same_speakers_keep_everything(trained, continued):
    assert_same_parameters(state_of(continued), state_of(trained))
    for name in ("embedding_model", "block_heads", "classifier"):
        assert f"init_from: {name} taken over" in log_of(continued)
    source = read_source(trained)
    checkpoints = [
        torch.load(path / "classifier.ckpt", weights_only=True)
        for path in trained.glob("save/CKPT*")
    ]
    weight = source.parameters["classifier"]["weight"]
    assert any(torch.equal(c["weight"], weight) for c in checkpoints)
    torch.testing.assert_close(
        last_classifier(continued)["weight"], weight, atol=1e-9, rtol=0
    )


def test_the_model_folder_tells_what_it_started_from(trained, continued):
    training, earlier = training_of(continued), training_of(trained)
    assert training["init_from"] == {
        key: earlier[key] for key in ("data", "seed", "epoch", "commit")
    }
    assert training["speakers"] == earlier["speakers"]
    assert "init_from" not in earlier


def test_a_resumed_training_takes_its_own_checkpoint(
    corpus, trained, continued, tmp_path
):
    output = shutil.copytree(continued, tmp_path / "resumed")
    shutil.rmtree(output / "model")
    nowhere = f"--init_from={tmp_path / 'nowhere'}"
    train(corpus, output, nowhere, "--num_epochs=1")
    assert "init_from is not read: this training has check" in log_of(output)
    assert_same_parameters(state_of(output), state_of(trained))
    assert training_of(output)["init_from"]["data"] == "VoxCeleb1"


def test_other_speakers_get_a_new_classifier(corpus, trained, tmp_path):
    words = [f"--init_from={trained}", "--num_dev_speakers=0"]
    train(corpus, tmp_path, *words, *FROZEN)
    assert_same_parameters(state_of(tmp_path), state_of(trained))
    expected = "classifier replaced: 18 speakers there, 20 here"
    assert expected in log_of(tmp_path)
    assert len(training_of(tmp_path)["classifier_speakers"]) == 20
    # The next one compares with this classifier's speakers.
    assert read_source(tmp_path).classes == sorted(
        training_of(tmp_path)["speakers"]
    )


def test_a_model_folder_gives_the_embedding_model_alone(trained):
    source = read_source(trained / "model")
    assert list(source.parameters) == ["embedding_model"]


class Parts:
    """Modules of one parameter each, and a source of them."""

    def __init__(self, num_classes=2):
        self.modules = {
            "embedding_model": nn.Linear(3, 2),
            "block_heads": nn.Linear(1, 1),
            "classifier": nn.Linear(2, num_classes, bias=False),
            "counter": object(),
        }

    def source(self, source, **changes):
        states = {
            k: m.state_dict() for k, m in self.modules.items() if k != "counter"
        }
        return source._replace(parameters=states, **changes)


@pytest.mark.parametrize(
    ("classes", "is_other", "reason"),
    [
        (["a", "b"], False, None),
        (["b", "a"], False, "2 speakers there, 2 here, other ones"),
        (["a", "c"], False, "2 speakers there, 2 here, other ones"),
        (["a", "b"], True, "speakers of another corpus there"),
    ],
)
def test_a_classifier_is_kept_for_the_same_people_in_order(
    trained, caplog, classes, is_other, reason
):
    source = Parts().source(read_source(trained), classes=classes)
    parts = Parts().modules
    before = parts["classifier"].weight.clone()
    with caplog.at_level("INFO"):
        start_from(source, parts, ["a", "b"], is_other)
    expected = source.parameters["classifier"]["weight"]
    kept = torch.equal(parts["classifier"].weight, expected)
    assert kept == (reason is None)
    assert torch.equal(parts["classifier"].weight, before) == (not kept)
    assert f"classifier replaced: {reason}" in caplog.text or kept
    loaded = parts["embedding_model"].weight
    assert torch.equal(loaded, source.parameters["embedding_model"]["weight"])


def test_another_architecture_is_named_by_a_parameter(
    corpus, trained, tmp_path
):
    message = r"another architecture: encoder\.\S+ is .*there and .* here"
    with pytest.raises(ValueError, match=message):
        train(corpus, tmp_path, f"--init_from={trained}", "--d_model=8")
    assert not list(tmp_path.glob("save/CKPT*"))


def test_development_speakers_that_were_trained_on_are_refused(
    corpus, trained, tmp_path
):
    with pytest.raises(ValueError, match="development speakers were trained"):
        train(corpus, tmp_path, f"--init_from={trained}", "--seed=1")


def test_speakers_of_another_corpus_are_no_one_s_of_ours(
    corpus, trained, tmp_path
):
    """Named as development and test speakers are, and taken for others."""
    words = ["--seed=1", "--init_from_other_corpus=True", "--num_epochs=1"]
    train(corpus, tmp_path, f"--init_from={trained}", *words)
    speakers = training_of(tmp_path)["speakers"]
    others = [f"VoxCeleb1:{x}" for x in training_of(trained)["speakers"]]
    assert set(others) < set(speakers)
    own = training_of(tmp_path)["classifier_speakers"]
    assert sorted([*others, *own]) == speakers
    assert "classifier replaced: speakers of another" in log_of(tmp_path)


def test_a_damaged_checkpoint_is_named(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    for text in ("epoch: [1", "", "- 1"):
        for path in folder.glob("save/CKPT*/CKPT.yaml"):
            path.write_text(text)
        with pytest.raises(ValueError, match="no whole checkpoint is the one"):
            read_source(folder)


class Bomb:
    def __reduce__(self):
        return (open, ("/nowhere/bomb", "w"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "training.json").unlink(), "there: give the output"),
        (lambda f: (f / "training.json").write_text("{"), "is damaged"),
        (lambda f: (f / "training.json").write_text("{}"), "'speakers'"),
        (lambda f: (f / "embedding_model.ckpt").unlink(), "no parameters"),
        (
            lambda f: torch.save(Bomb(), f / "embedding_model.ckpt"),
            "no parameters can be read .Weights only load failed",
        ),
        (
            lambda f: torch.save([1], f / "embedding_model.ckpt"),
            "no parameters",
        ),
        (
            lambda f: torch.save(
                {"a": torch.tensor([torch.nan])}, f / "embedding_model.ckpt"
            ),
            "not finite",
        ),
    ],
    ids=["missing", "json", "keys", "ckpt", "code", "list", "nan"],
)
def test_a_damaged_or_hostile_folder_is_named(
    trained, tmp_path, spoil, message
):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    spoil(folder)
    with pytest.raises(ValueError, match=message) as error:
        read_source(folder)
    assert re.search(re.escape(str(folder)), str(error.value))


def test_a_lost_classifier_is_not_passed_over(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    state = state_of(folder)
    state["embedding_head.projection.bias"] += 1
    torch.save(state, folder / "model" / "embedding_model.ckpt")
    with pytest.raises(ValueError, match="start from the embedding model al"):
        read_source(folder)
    for path in folder.glob("save/CKPT*"):  # deleted to save space
        shutil.rmtree(path)
    assert list(read_source(folder).parameters) == ["embedding_model"]
