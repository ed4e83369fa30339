"""TensorBoard and W&B, read back from what a training wrote."""

import json
import re
import struct
import time
from pathlib import Path

import pytest
import training_loggers
from hyperpyyaml import load_hyperpyyaml
from recipe_commands import HPARAMS, train
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from training_loggers import TensorboardEpochs, WandBEpochs
from wandb.proto import wandb_internal_pb2

BOTH = "--more_loggers=[!ref <tensorboard>, !ref <wandb>]"
WATCHED = (
    "loss",
    "am_softmax",
    "mfcon",
    "supcon",
    "accuracy",
    "accuracy_with_margin",
    "utterances_per_second",
    "share_waiting_for_data",
)


@pytest.fixture(scope="module")
def logged(corpus, tmp_path_factory):
    """Two epochs, then a third of the resumed training."""
    output = tmp_path_factory.mktemp("logged")
    tensorboard = "--more_loggers=[!ref <tensorboard>]"
    train(corpus, output, tensorboard)
    train(corpus, output, tensorboard, "--num_epochs=3")
    return output


def file_log(output):
    """The values of train_log.txt, by name."""
    values = {}
    for line in (output / "train_log.txt").read_text().splitlines():
        for key, value in re.findall(r"([\w ]+): ([^,\s]+)", line):
            values.setdefault(key.strip(), []).append(float(value))
    return values


def test_tensorboard_has_every_epoch_of_a_resumed_training(logged):
    events = EventAccumulator(str(logged / "tensorboard"))
    events.Reload()
    written = file_log(logged)
    names = {name: f"{name}/train" for name in WATCHED}
    names |= {name: f"{name}/valid" for name in ("eer", "min_dcf")}
    for name, tag in {**names, "lr": "lr"}.items():
        scalars = events.Scalars(tag)
        assert [s.step for s in scalars] == [1, 2, 3], tag
        kind = "" if name == "lr" else tag.partition("/")[2] + " "
        expected = written[f"{kind}{name}"]
        given = [s.value for s in scalars]
        assert given == pytest.approx(expected, rel=6e-3), tag  # rounded there


def test_the_projector_has_the_development_embeddings(logged):
    config = (logged / "tensorboard" / "projector_config.pbtxt").read_text()
    (vectors,) = re.findall(r'tensor_path: "(.*)"', config)
    (labels,) = re.findall(r'metadata_path: "(.*)"', config)
    assert vectors.startswith("00003/")
    rows = (logged / "tensorboard" / vectors).read_text().splitlines()
    speakers = (logged / "tensorboard" / labels).read_text().split()
    manifest = (logged / "save" / "dev.csv").read_text().splitlines()[1:]
    assert sorted(speakers) == sorted(
        row.rpartition(",")[2] for row in manifest
    )
    assert {len(row.split("\t")) for row in rows} == {16}  # emb_dim
    assert len(rows) == len(speakers)


def records(path):
    """What is in a file of W&B's: LevelDB's log format after 7 bytes."""
    content, position, parts = path.read_bytes(), 7, []
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:  # no header fits into the rest of a block
            position += left
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def history(path):
    """The logged rows of a file of W&B's, which its process goes on writing
    for a moment after the run has ended."""
    kinds = []
    for _ in range(100):
        parsed = []
        for data in records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            parsed.append(record)
        kinds = [record.WhichOneof("record_type") for record in parsed]
        if "exit" in kinds:
            break
        time.sleep(0.1)
    assert "exit" in kinds
    return [
        {
            ".".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        for record, kind in zip(parsed, kinds, strict=True)
        if kind == "history"
    ]


@pytest.fixture(scope="module")
def wandb_logged(tmp_path_factory):
    """Two epochs, and a third of the resumed training."""
    folder = tmp_path_factory.mktemp("wandb")
    for epochs in ((1, 2), (3,)):
        logger = WandBEpochs(folder, "speakers", "offline")
        logger.check()
        logger.start()
        for epoch in epochs:
            logger.log_stats(
                {"epoch": epoch, "lr": 0.1 / epoch},
                {"loss": 3.0 / epoch},
                {"eer": 0.3 / epoch},
            )
        logger.close()
    return folder


def test_wandb_writes_every_epoch_to_one_run_offline(wandb_logged):
    name = (wandb_logged / "run_id.txt").read_text()
    paths = sorted(wandb_logged.glob("wandb/offline-run-*/*.wandb"))
    assert [path.stem for path in paths] == [f"run-{name}"] * 2
    rows = [row for path in paths for row in history(path)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["_step"] for row in rows] == [1, 2, 3]
    for number, row in enumerate(rows, 1):
        assert row["lr"] == 0.1 / number
        assert row["train.loss"] == 3.0 / number
        assert row["valid.eer"] == 0.3 / number


@pytest.mark.long
def test_a_training_logs_to_both(corpus, tmp_path):
    train(corpus, tmp_path, BOTH)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows = history(path)
    written = file_log(tmp_path)
    for key in WATCHED:
        given = [row[f"train.{key}"] for row in rows]
        assert given == pytest.approx(written[f"train {key}"], rel=6e-3), key
    assert list(tmp_path.glob("tensorboard/events*"))


def test_the_usual_training_has_the_file_alone(trained):
    assert (trained / "train_log.txt").exists()
    assert not (trained / "tensorboard").exists()
    assert not (trained / "wandb").exists()


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_before_the_data_is_read(
    tmp_path, monkeypatch, package
):
    monkeypatch.setattr(training_loggers, "find_spec", lambda name: None)
    message = f"{package} is not installed: pip install {package}"
    with pytest.raises(ValueError, match=message):
        train(
            tmp_path / "nowhere",
            tmp_path / "out",
            f"--more_loggers=[!ref <{package}>]",
        )
    assert not (tmp_path / "out" / "tensorboard").exists()


def test_a_wrong_mode_is_named(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"\('on'\) must be one of offline"):
        train(corpus, tmp_path, "--wandb_mode='on'")


@pytest.mark.parametrize("name", ["mfcon", "mha"])
def test_both_are_alternatives_of_every_training(name, tmp_path):
    with open(HPARAMS / f"{name}.yaml", encoding="utf-8") as file:
        hparams = load_hyperpyyaml(
            file,
            f"output_folder: {tmp_path}\nnum_pooling_heads: 32\n"
            "more_loggers: [!ref <tensorboard>, !ref <wandb>]",
        )
    first, second = hparams["more_loggers"]
    assert isinstance(first, TensorboardEpochs)
    assert isinstance(second, WandBEpochs)
    assert first.folder == Path(tmp_path) / "tensorboard"
    assert second.mode == "offline"
