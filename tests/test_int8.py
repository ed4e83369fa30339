"""An ONNX graph with weights of 8 bits, and its EER."""

import json
import shutil
from pathlib import Path

import export_model
import int8
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from recipe_commands import snapshot, train_mha

from custom_modules.metrics import equal_error_rate
from custom_modules.scoring import read_trials


@pytest.fixture(scope="module")
def cnn(corpus, tmp_path_factory):
    """Output folder of a CNN, with its graph, which takes 10 s to write."""
    output = tmp_path_factory.mktemp("cnn")
    train_mha(corpus, output, "--num_epochs=1")
    export_model.main([str(output / "model"), "--onnx"])
    return output


@pytest.fixture
def folder(cnn, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(cnn / "model", tmp_path / "model"))
    graph = (folder / "embedding_model.onnx").read_bytes()
    (folder / "embedding_model.onnx").unlink()

    def write_again(model, path):
        path.write_bytes(graph)
        return 0.0

    monkeypatch.setattr(export_model, "write_onnx", write_again)
    return folder


def product_of(scope, weights):
    """A graph with one product, of rows and a matrix of weights."""
    node = helper.make_node("MatMul", ["x", "weights"], ["y"], name="product")
    entry = node.metadata_props.add()
    entry.key, entry.value = int8.SCOPES, str(["", scope])
    size = len(weights)
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])
        for name in "xy"
    ]
    weights = numpy_helper.from_array(weights, "weights")
    graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], [weights])
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def test_a_product_in_8_bits_is_within_its_rounding(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1, 1, (64, 64)).astype(np.float32)
    onnx.save(product_of("embedding_model", weights), tmp_path / "a.onnx")
    assert int8.quantise(tmp_path / "a.onnx", tmp_path / "b.onnx") == 1
    x = rng.uniform(-1, 1, (5, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "b.onnx")
    (y,) = session.run(None, {"x": x})
    difference = np.abs(y - x @ weights).max()
    # Half a step of 2 / 255 off, in 64 factors of rows and of weights.
    assert 0 < difference < 64 * 2 * (1 / 255)
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in "ab"]
    assert sizes[1] < sizes[0] / 2


def test_products_outside_the_embedding_model_stay_as_they_are(tmp_path):
    weights = np.eye(4, dtype=np.float32)
    onnx.save(product_of("compute_features", weights), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"a\.onnx: int8 is for products with"):
        int8.quantise(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_int8_is_written_with_its_eer_and_told_in_the_card(
    folder, cnn, corpus, capsys
):
    words = [str(folder), "--int8", f"--data_folder={corpus}"]
    trials = cnn / "save" / "dev_trials.txt"
    export_model.main([*words, f"--trials={trials}"])
    result = json.loads((folder / "embedding_model.int8.json").read_text())
    for name, kind in (("", "float32"), (".int8", "int8")):
        size = (folder / f"embedding_model{name}.onnx").stat().st_size
        assert result["bytes"][kind] == size
    assert result["bytes"]["int8"] < result["bytes"]["float32"]
    assert result["num_products"] >= 1
    training = json.loads((folder / "training.json").read_text())
    rates = result["eer_percent"]
    # That of the checkpoint, from other batches.
    assert rates["float32"][0] == pytest.approx(100 * training["dev_eer"])
    listed = read_trials(trials)
    assert result["num_trials"] == len(listed.enrol)
    found = {
        name: str(corpus / "wav" / f"{name}.wav")
        for name in {*listed.enrol, *listed.test}
    }
    embeddings = int8.embed_by_graph(found, folder / int8.INT8_FILE, 16000)
    units = {k: v.numpy() / v.norm().item() for k, v in embeddings.items()}
    scores = [
        units[a] @ units[b]
        for a, b in zip(listed.enrol, listed.test, strict=True)
    ]
    eer, _ = equal_error_rate(scores, listed.is_target)
    assert rates["int8"][0] == pytest.approx(100 * eer, abs=1e-3)
    assert rates["difference"][0] == pytest.approx(
        rates["int8"][0] - rates["float32"][0], abs=2e-4
    )
    text = int8.tell_int8(result)
    assert text in (folder / "README.md").read_text()
    assert text in capsys.readouterr().out


def test_without_fair_trials_nothing_is_written(folder, corpus, tmp_path):
    training = json.loads((folder / "training.json").read_text())
    trained_on = training["speakers"][:2]
    names = [
        next((corpus / "wav" / speaker).rglob("*.wav")).relative_to(
            corpus / "wav"
        )
        for speaker in trained_on
    ]
    trials = tmp_path / "trials.txt"
    trials.write_text(f"1 {names[0]} {names[0]}\n0 {names[0]} {names[1]}\n")
    words = [str(folder), "--int8", f"--data_folder={corpus}"]
    before = snapshot(folder)
    with pytest.raises(
        ValueError, match=rf"trials.txt: 2 of .*{trained_on[0]}"
    ):
        export_model.main([*words, f"--trials={trials}"])
    with pytest.raises(FileNotFoundError, match=r"trials=none\.txt"):
        export_model.main([*words, "--trials=none.txt"])
    assert snapshot(folder) == before


def test_a_failure_leaves_no_half(folder, corpus, monkeypatch):
    def fail(*args):
        raise ValueError("no EER")

    monkeypatch.setattr(int8, "compare_systems", fail)
    words = [str(folder), "--int8", f"--data_folder={corpus}"]
    before = snapshot(folder)
    with pytest.raises(ValueError, match="no EER"):
        export_model.main(words)
    new = snapshot(folder).keys() - before.keys()
    assert [path.name for path in new] == ["embedding_model.onnx"]
    assert {k: v for k, v in snapshot(folder).items() if k in before} == before
