"""A model folder as an ONNX graph and on a hub."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import export_model
import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from extraction import embed_batch, load_model
from recipe_commands import RECIPE, snapshot, train_mha
from speechbrain.dataio.batch import PaddedBatch

from custom_modules.audio import read_audio

TOLERANCE = 1e-4  # of embeddings of length 1


def assert_onnx_is_pytorch(folder, corpus, tmp_path):
    """On files of 2, 5 and 20 s, alone and in a batch, as `verify.py` does."""
    export_model.main([str(folder), "--onnx"])
    graph = (folder / "embedding_model.onnx").read_bytes()
    for place in (RECIPE.parents[1], sys.prefix, sys.base_prefix):
        assert str(place).encode() not in graph  # torch notes its sources
    session = onnxruntime.InferenceSession(folder / "embedding_model.onnx")
    model, _ = load_model(folder, "hyperparams.yaml", {"device": "cpu"})

    def unit_onnx(wavs):
        (embeddings,) = session.run(None, {"wavs": wavs.numpy()})
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings / norms

    speech = np.concatenate(
        [soundfile.read(x)[0] for x in sorted((corpus / "wav").rglob("*.wav"))]
    )
    for seconds in (2, 5, 20):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, speech[: 16000 * seconds + 7], 16000)
        wav = read_audio(path, 16000)
        batch = PaddedBatch([{"id": "a", "sig": wav}])
        with torch.no_grad():
            embedding = embed_batch(batch, model.mods)["a"].numpy()
        expected = embedding / np.linalg.norm(embedding)
        both = unit_onnx(torch.stack([wav, wav.flip(0)]))
        for unit in (unit_onnx(wav[None])[0], both[0]):
            np.testing.assert_allclose(unit, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.long
def test_the_onnx_graph_of_mfa_conformer_is_the_model(
    trained, corpus, tmp_path
):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    assert_onnx_is_pytorch(folder, corpus, tmp_path)


def test_the_onnx_graph_of_the_cnn_is_the_model(corpus, tmp_path):
    train_mha(corpus, tmp_path, "--num_epochs=1")
    assert_onnx_is_pytorch(tmp_path / "model", corpus, tmp_path)


class FakeApi:
    """Keeps what would be uploaded."""

    def __init__(self):
        self.calls = []
        self.files = {}
        self.is_private = True

    def create_repo(self, repo_id, *, private, exist_ok):
        self.calls.append(("create_repo", repo_id, private, exist_ok))

    def repo_info(self, repo_id):
        return SimpleNamespace(private=self.is_private)

    def upload_folder(self, *, repo_id, folder_path):
        self.calls.append(("upload_folder", repo_id))
        for path in Path(folder_path).iterdir():
            self.files[path.name] = path.read_bytes()


@pytest.fixture
def api(monkeypatch):
    fake = FakeApi()
    monkeypatch.setattr(export_model, "HfApi", lambda: fake)
    return fake


def test_a_public_repository_gets_nothing(trained, api):
    api.is_private = False
    with pytest.raises(ValueError, match="someone/mfcon is public"):
        export_model.main(
            [str(trained / "model"), "--push_to_hub=someone/mfcon"]
        )
    assert [name for name, *_ in api.calls] == ["create_repo"]
    assert api.files == {}


def test_what_is_uploaded_is_a_model_folder_without_paths(
    trained, tmp_path, api, capsys
):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    (folder / "notes.txt").write_text("mine")
    tests = {"tests": [], "machine": "/home/me"}
    (folder / "tests.json").write_text(json.dumps(tests))
    export_model.main([str(folder), "--push_to_hub=someone/mfcon"])
    assert api.calls == [
        ("create_repo", "someone/mfcon", True, True),
        ("upload_folder", "someone/mfcon"),
    ]
    assert sorted(api.files) == [
        "README.md",
        "embedding_model.ckpt",
        "embedding_model.safetensors",
        "hyperparams.yaml",
        "tests.json",
        "training.json",
    ]
    assert json.loads(api.files["tests.json"]) == {"tests": []}
    uploaded = tmp_path / "uploaded"
    uploaded.mkdir()
    for name, content in api.files.items():
        (uploaded / name).write_bytes(content)
        assert str(tmp_path.parent.parent).encode() not in content
    _, training = load_model(uploaded, "hyperparams.yaml", {"device": "cpu"})
    assert training["speakers"]
    assert "uploaded to someone/mfcon" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(trained, corpus, tmp_path, api):
    model = str(trained / "model")
    with pytest.raises(ValueError, match="give --onnx, --int8, --report"):
        export_model.main([model])
    with pytest.raises(ValueError, match=r"hyperparams\.yaml is missing"):
        export_model.main([str(tmp_path), "--push_to_hub=a/b"])
    for words in (
        ["--int8"],
        ["--int8", "--trials=O"],
        ["--onnx", f"--data_folder={corpus}"],
        ["--onnx", "--trials=O"],
    ):
        with pytest.raises(ValueError, match="needs trials to tell its EER"):
            export_model.main([model, *words])
    assert not api.calls


@pytest.mark.parametrize("name", export_model.FILES)
def test_a_model_folder_that_lacks_a_file_is_one_line(
    trained, verified, corpus, tmp_path, api, name
):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    (folder / name).unlink()
    before = snapshot(tmp_path)
    for words in (
        ["--onnx"],
        ["--int8", f"--data_folder={corpus}"],
        [f"--report={verified / 'report.json'}"],
        ["--push_to_hub=a/b"],
    ):
        with pytest.raises(ValueError, match=rf"/{name} is missing: give the"):
            export_model.main([str(folder), *words])
    assert snapshot(tmp_path) == before
    assert not api.calls


def test_a_graph_that_differs_is_not_written(trained, tmp_path, monkeypatch):
    class Program:
        def save(self, path):
            onnx.save(onnx.ModelProto(), path)

    class Session:
        def __init__(self, path, providers):
            assert Path(path).exists()

        def run(self, names, inputs):
            return [np.ones((len(inputs["wavs"]), 16), np.float32)]

    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    model, _ = load_model(
        trained / "model", "hyperparams.yaml", {"device": "cpu"}
    )
    with pytest.raises(ValueError, match=r"more than 0\.0001: not written"):
        export_model.write_onnx(model, tmp_path / "embedding_model.onnx")
    assert not list(tmp_path.iterdir())
