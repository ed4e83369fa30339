"""A packed corpus stands where the corpus stood."""

import shutil
from collections import namedtuple

import numpy as np
import pack
import pytest
import soundfile
import torch
from recipe_commands import BASELINE, HPARAMS, run_verify, train

from custom_modules.scoring import read_scores


@pytest.fixture(scope="module")
def packed(corpus, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "VoxCeleb1.packed"
    pack.main([str(corpus), str(target)])
    return target


def test_training_from_it_ends_with_the_same_weights(
    packed, trained, corpus, tmp_path
):
    """Corpus, noises and rooms packed; manifests alike but for the folder."""
    train(packed, tmp_path)
    expected, weights = (
        torch.load(folder / "model" / "embedding_model.ckpt")
        for folder in (trained, tmp_path)
    )
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
    for name in ("train.csv", "dev.csv", "dev_trials.txt"):
        one, other = (
            (folder / "save" / name).read_text()
            for folder in (trained, tmp_path)
        )
        assert one == other


def test_verification_of_it_gives_the_same_scores(packed, corpus, tmp_path):
    """Trial list and table of speakers are found in it too."""
    scores = []
    for data in (corpus, packed):
        run_verify(data, HPARAMS / "models", tmp_path, *BASELINE)
        scores.append(read_scores(tmp_path / "scores.txt")[1])
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("layout", ["dev/wav", "a/b/wav"])
def test_other_layouts_are_found_in_it(corpus, tmp_path, layout):
    plain = tmp_path / "plain"
    shutil.copytree(corpus / "wav", plain / layout)
    shutil.copytree(corpus / "meta", plain / "meta")
    target = tmp_path / "plain.packed"
    pack.main([str(plain), str(target)])
    report = run_verify(target, HPARAMS / "models", tmp_path, *BASELINE)
    assert report["num_utterances"] == 16


def test_files_that_cannot_be_used_are_named_before_packing(tmp_path):
    (tmp_path / "data").mkdir()
    for name, value in (("good", 0.5), ("silent", 0.0)):
        samples = value * np.sin(np.arange(8000))
        soundfile.write(tmp_path / "data" / f"{name}.wav", samples, 16000)
    with pytest.raises(ValueError, match=r"1 of 2 .*\n.*silent\.wav: silent"):
        pack.main([str(tmp_path / "data"), str(tmp_path / "data.packed")])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_disk_without_room_is_named_before_packing(
    corpus, tmp_path, monkeypatch
):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(ValueError, match=r"may be needed, 0\.0 GB are free"):
        pack.main([str(corpus), str(tmp_path / "x.packed")])


def test_wrong_arguments_are_one_line(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.packed"):
        pack.main([str(corpus), str(tmp_path / "packed")])
    with pytest.raises(ValueError, match="required: target; usage: pack"):
        pack.main([str(corpus)])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        pack.main([str(tmp_path / "no"), str(tmp_path / "x.packed")])
