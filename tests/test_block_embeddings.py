"""Embeddings of blocks, against the checkpoint's parts put together by hand."""

import shutil

import pytest
import torch
from block_embeddings import embed_blocks, load_trained_blocks
from evaluation import make_loader
from voxceleb1_layout import find_utterances

from custom_modules.audio import read_audio

ATOL = 1e-4  # float32, alone or padded in a batch


@pytest.fixture
def without_mfcon(trained, tmp_path):
    """A copy of the training that says its block heads were not trained."""
    folder = tmp_path / "without"
    shutil.copytree(trained, folder)
    path = folder / "hyperparams.yaml"
    text = path.read_text()
    assert text.count("\nmfcon_weight: 0.03\n") == 1
    path.write_text(text.replace("mfcon_weight: 0.03", "mfcon_weight: 0"))
    return folder


@pytest.fixture
def utterances(corpus):
    found = find_utterances(corpus)
    return dict(list(found.items())[:6])


def test_block_embeddings_are_those_of_the_exported_epoch(trained, utterances):
    blocks = load_trained_blocks(trained, "cpu")
    loader = make_loader(utterances, "files", 16000, 4.0, 0)
    embeddings = embed_blocks(loader, blocks)
    assert sorted(embeddings.statistics) == sorted(embeddings.heads) == [1, 2]
    # Every checkpoint: one is the exported one.
    states = [
        (
            torch.load(path / "embedding_model.ckpt"),
            torch.load(path / "block_heads.ckpt"),
        )
        for path in trained.glob("save/CKPT*")
    ]
    exported = torch.load(trained / "model" / "embedding_model.ckpt")
    heads, *_ = [  # of the epoch's end, and of its last step
        heads
        for state, heads in states
        if all(torch.equal(state[key], exported[key]) for key in state)
    ]
    modules = blocks.model.mods
    utt_id, path = list(utterances.items())[-1]
    with torch.no_grad():
        feats = modules["compute_features"](read_audio(path, 16000)[None])
        feats = feats - feats.mean(dim=1, keepdim=True)
        outputs, _ = modules["embedding_model"].encoder(feats)
        final = modules["embedding_model"](feats)[0, 0]
        for number, output in enumerate(outputs, start=1):
            frames = output[0]
            head = {
                key.removeprefix(f"heads.{number - 1}."): value
                for key, value in heads.items()
                if key.startswith(f"heads.{number - 1}.")
            }
            projection = blocks.block_heads.heads[number - 1].projection
            assert torch.equal(projection.weight, head["projection.weight"])
            statistics = torch.cat(
                [frames.mean(dim=0), frames.std(dim=0, correction=0)]
            )
            torch.testing.assert_close(
                embeddings.statistics[number][utt_id],
                statistics,
                atol=ATOL,
                rtol=0,
            )
            torch.testing.assert_close(
                embeddings.heads[number][utt_id],
                blocks.block_heads.heads[number - 1](output)[0],
                atol=ATOL,
                rtol=0,
            )
    torch.testing.assert_close(
        embeddings.final[utt_id], final, atol=ATOL, rtol=0
    )


def test_heads_that_no_loss_trained_are_left_out(without_mfcon, utterances):
    blocks = load_trained_blocks(without_mfcon, "cpu")
    assert blocks.block_heads is None
    embeddings = embed_blocks(
        make_loader(utterances, "files", 16000, 4.0, 0), blocks
    )
    assert embeddings.heads == {}
    assert len(embeddings.statistics[2]) == len(utterances)


def test_loading_makes_no_folder(trained, tmp_path, monkeypatch):
    """The training's own YAML would make its save_folder."""
    monkeypatch.chdir(tmp_path)
    load_trained_blocks(trained, "cpu")
    assert not list(tmp_path.iterdir())


def test_another_epochs_heads_are_refused(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    path = folder / "model" / "embedding_model.ckpt"
    state = torch.load(path)
    state["embedding_head.projection.bias"] += 1
    torch.save(state, path)
    with pytest.raises(ValueError, match=f"{folder}/save: no checkpoint has"):
        load_trained_blocks(folder, "cpu")


def test_what_is_missing_is_named(trained, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}/hyperparams.yaml is"):
        load_trained_blocks(tmp_path, "cpu")
    shutil.copy(trained / "hyperparams.yaml", tmp_path)
    with pytest.raises(ValueError, match=r"model/hyperparams\.yaml is miss"):
        load_trained_blocks(tmp_path, "cpu")
