"""A cache gives what was stored, for the same model and content alone."""

import shutil

import embedding_cache
import numpy as np
import pytest
import soundfile
import torch
from embedding_cache import EmbeddingCache, digest_files, model_key

DIGESTS = [f"{number:064x}" for number in range(3)]


def embeddings(seed=0):
    rows = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    return dict(zip(DIGESTS, rows, strict=True))


def test_what_is_stored_comes_back_bit_for_bit(tmp_path):
    cache = EmbeddingCache(tmp_path / "new", "key")
    assert cache.load() == {}
    stored = embeddings()
    cache.store({DIGESTS[0]: stored[DIGESTS[0]]})
    cache.store({digest: stored[digest] for digest in DIGESTS[1:]})
    loaded = cache.load()
    assert list(loaded) == DIGESTS
    assert all(torch.equal(loaded[key], stored[key]) for key in DIGESTS)
    assert EmbeddingCache(tmp_path / "new", "other").load() == {}


def test_a_folder_may_be_named_from_one_that_is_not_there_yet(tmp_path):
    """As `<output_folder>/../embeddings`, before the output folder is."""
    EmbeddingCache(tmp_path / "first" / ".." / "shared", "key").store(
        embeddings()
    )
    again = EmbeddingCache(tmp_path / "second" / ".." / "shared", "key")
    assert list(again.load()) == DIGESTS
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_content_counts_and_not_the_name(tmp_path):
    paths = {name: str(tmp_path / f"{name}.wav") for name in "abc"}
    for name, level in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        soundfile.write(paths[name], np.full(100, level), 16000)
    digests = digest_files(paths)
    assert digests["a"] == digests["b"] != digests["c"]
    cache = EmbeddingCache(tmp_path, "key")
    cache.store({digests["a"]: torch.ones(2)})
    known, missing = cache.find(paths)
    assert list(known) == ["a", "b"]
    assert missing == {"c": digests["c"]}
    soundfile.write(paths["a"], np.full(100, 0.3), 16000)
    known, missing = cache.find(paths)
    assert list(known) == ["b"]


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text("n_mels: 80")
    (folder / "embedding_model.ckpt").write_bytes(b"parameters")
    return folder


def test_a_model_is_parameters_yaml_code_and_device(
    model_folder, tmp_path, monkeypatch
):
    def key(folder=model_folder, device="cpu"):
        return model_key(folder, "hyperparams.yaml", device)

    keys = [key()]
    assert key(shutil.copytree(model_folder, tmp_path / "copy")) == keys[0]
    assert key(device="cuda:0") == key(device="cuda:1")
    keys.append(key(device="cuda:0"))
    (model_folder / "embedding_model.ckpt").write_bytes(b"others")
    keys.append(key())
    (model_folder / "hyperparams.yaml").write_text("n_mels: 64")
    keys.append(key())
    (model_folder / "more.ckpt").write_bytes(b"of another module")
    keys.append(key())
    code = tmp_path / "code"
    code.mkdir()
    (code / "__init__.py").touch()
    monkeypatch.setattr(
        embedding_cache.custom_modules, "__file__", str(code / "__init__.py")
    )
    keys.append(key())
    (code / "pooling.py").write_text("edited")
    keys.append(key())
    assert len(set(keys)) == len(keys) == 7


@pytest.mark.parametrize("damage", ["cut", "text", "lacking"])
def test_a_damaged_cache_is_named(tmp_path, damage):
    cache = EmbeddingCache(tmp_path, "key")
    cache.store(embeddings())
    content = cache.path.read_bytes()
    if damage == "cut":
        cache.path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        cache.path.write_text("not an archive")
    else:
        np.savez(cache.path, digests=np.zeros((1, 32)))
    with pytest.raises(ValueError, match=r"key\.npz: damaged .*; delete it"):
        cache.load()
