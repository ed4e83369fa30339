"""The model folder."""

import shutil

import export
import pytest
import torch
from safetensors.torch import load_file
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.speaker import SpeakerRecognition

from custom_modules.conformer import MFAConformer
from custom_modules.heads import EmbeddingHead, SpeakerEmbedder
from custom_modules.pooling import StatisticsPooling

TRAINING = {
    "data": "VoxCeleb1",
    "speakers": ["id10001"],
    "seed": 1986,
    "epoch": 1,
    "dev_eer": None,
    "commit": None,
    "hours": 2.5,
    "noise": None,
    "rooms": None,
    "threshold": None,
    "threshold_p01": None,
}


def make_embedder():
    encoder = MFAConformer(d_model=16, num_blocks=2, d_ffn=32)
    return SpeakerEmbedder(encoder, EmbeddingHead(32, 8, StatisticsPooling))


def assert_equal_files(folder):
    expected = torch.load(folder / "embedding_model.ckpt")
    state = load_file(folder / "embedding_model.safetensors")
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value), name


def test_safetensors_equal_the_checkpoint_of_a_training(trained):
    assert_equal_files(trained / "model")


def test_safetensors_hold_parameters_that_are_shared_or_transposed(tmp_path):
    embedder = make_embedder()
    first, second = embedder.encoder.blocks[:2]
    second.attention = first.attention
    weight = embedder.embedding_head.projection.weight
    weight.data = weight.data.t().contiguous().t()
    export.export_model({"sample_rate": 16000}, embedder, TRAINING, tmp_path)
    assert_equal_files(tmp_path)


def test_graphs_and_tests_of_an_earlier_model_go(tmp_path):
    for name in (*export.DERIVED, "notes.txt"):
        (tmp_path / name).write_text("of the model before")
    export.export_model(
        {"sample_rate": 16000}, make_embedder(), TRAINING, tmp_path
    )
    left = {path.name for path in tmp_path.iterdir()}
    assert "notes.txt" in left
    assert not left & set(export.DERIVED)


@pytest.mark.parametrize("name", ["save", "describe_model"])
def test_a_folder_half_written_has_no_training(tmp_path, monkeypatch, name):
    """reproduce.py takes a folder with training.json for finished."""

    def fail(*args):
        raise OSError("no room")

    monkeypatch.setattr(export, name, fail)
    with pytest.raises(OSError, match="no room"):
        export.export_model(
            {"sample_rate": 16000}, make_embedder(), TRAINING, tmp_path
        )
    files = {path.name for path in tmp_path.iterdir()}
    assert "training.json" not in files
    assert not [name for name in files if name.startswith(".")]


def test_encode_batch_of_speechbrains_interfaces_is_the_model(
    trained, tmp_path
):
    """Wherever the folder lies; it has no classifier of the training."""
    folder = shutil.copytree(trained / "model", tmp_path / "elsewhere")
    options = {"source": str(folder), "run_opts": {"device": "cpu"}}
    wavs = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    classifier = EncoderClassifier.from_hparams(**options)
    embeddings = classifier.encode_batch(wavs)
    recognition = SpeakerRecognition.from_hparams(**options)
    assert torch.equal(embeddings, recognition.encode_batch(wavs))
    assert embeddings.shape == (3, 1, 16)
    alone = classifier.encode_batch(wavs[1])
    torch.testing.assert_close(alone, embeddings[1:2], atol=1e-5, rtol=0.0)
    with pytest.raises(AttributeError, match="classifier"):
        classifier.classify_batch(wavs)
