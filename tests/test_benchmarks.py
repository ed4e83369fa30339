"""The reference is our mathematics; every stage runs and says what it did."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from benchmarks import (
    augmentation,
    extraction,
    growth,
    loading,
    metrics,
    preparation,
    scoring,
    training_step,
)
from benchmarks.__main__ import STAGES
from benchmarks.measurement import (
    Row,
    Target,
    ratio,
    time_alternately,
)
from benchmarks.plain_model import make_plain_modules, make_plain_objective
from benchmarks.table import make_table
from custom_modules.losses import Predictions

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmarks"
EQUAL = 1e-5  # the plain step and ours
SIZES = {
    "d_model": 16,
    "num_blocks": 2,
    "d_ffn": 32,
    "emb_dim": 8,
    "attention_channels": 8,
}


def run_stage(main, folder, *arguments):
    """Run a stage on little; its JSON."""
    main([f"--output={folder}", *arguments])
    name = main.__module__.removeprefix("benchmarks.")
    content = json.loads((folder / f"{name}.json").read_text())
    assert content["stage"] == name
    for key in ("machine", "commit", "settings", "rows"):
        assert content[key], key
    for row in content["rows"]:
        assert 0 < row["fastest_s"] <= row["median_s"] <= row["slowest_s"]
        assert row["what"] in (folder / "table.md").read_text()
    for target in content["targets"]:
        assert target["value"] > 0
        assert f"{name}: {target['what']}" in (folder / "table.md").read_text()
    return content


def test_the_plain_step_is_ours():
    """Losses, and the gradient of every parameter of the same name."""
    torch.manual_seed(0)
    with open(ROOT / "hparams" / "mfcon.yaml", encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, {**SIZES, "dropout": 0.0})
    ours = dict(hparams["modules"])
    for parameter in (p for m in ours.values() for p in m.parameters()):
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    plain = make_plain_modules(hparams, ours)
    classifier = hparams["classifier"](out_neurons=5)
    feats, labels = torch.randn(12, 61, 80).double(), torch.arange(12) % 5
    results = []
    for modules, objective in (
        (ours, hparams["objective"]),
        (plain, make_plain_objective(hparams)),
    ):
        for module in (*modules.values(), classifier):
            module.double()
            module.zero_grad()
        outputs, lengths = modules["encoder"](feats)
        frames = torch.cat(outputs, dim=-1)
        embeddings = modules["embedding_head"](frames, lengths)
        blocks = modules["block_heads"](outputs, lengths)
        cosines = classifier(embeddings).reshape(12, 5)
        terms = objective(Predictions(cosines, embeddings, blocks), labels)
        sum(terms.values()).backward()
        gradients = {
            f"{name}.{key}": parameter.grad.flatten()
            for name, module in modules.items()
            for key, parameter in module.named_parameters()
        }
        results.append((terms, gradients))
    (terms, gradients), (plain_terms, plain_gradients) = results
    assert (
        terms.keys() == plain_terms.keys() == {"am_softmax", "mfcon", "supcon"}
    )
    assert gradients.keys() == plain_gradients.keys()
    assert len(gradients) > 100
    for name, value in (*terms.items(), *gradients.items()):
        other = {**plain_terms, **plain_gradients}[name]
        torch.testing.assert_close(value, other, atol=EQUAL, rtol=EQUAL)
        assert value.abs().max() > 0, name


def test_tasks_are_timed_in_turn():
    calls = []
    seconds = time_alternately(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        repeats=2,
        warmups=1,
    )
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_ratios_count_work_by_time():
    """Twice the work in a quarter of the time."""
    reference = Row("reference", [4.0, 1.0, 9.0], 10, "files")
    assert ratio(reference, Row("ours", [1.0], 20, "files")) == 8.0
    assert reference.as_dict()["per_second"] == 2.5


@pytest.mark.parametrize(
    ("value", "is_lower_bound", "is_met"),
    [(2.0, True, True), (1.9, True, False), (2.0, False, True)],
)
def test_a_target_is_met_or_not(value, is_lower_bound, is_met):
    target = Target("figure", value, 2.0, is_lower_bound)
    assert target.as_dict()["is_met"] == is_met


def test_augmentation(tmp_path):
    content = run_stage(
        augmentation.main,
        tmp_path,
        *("--batch_size=6", "--crop=0.2", "--num_noises=6", "--num_rirs=3"),
        *("--noise_seconds", "0.3", "0.1", "--repeats=2", "--device=cpu"),
    )
    assert len(content["rows"]) == 8
    assert len(content["targets"]) == 2


def test_extraction(tmp_path):
    content = run_stage(
        extraction.main,
        tmp_path,
        *("--num_utterances=4", "--repeats=1", "--device=cpu"),
        *("--batch_seconds=20", f"--sizes={json.dumps(SIZES)}"),
    )
    assert len(content["targets"]) == 2


def test_scoring(tmp_path):
    content = run_stage(
        scoring.main,
        tmp_path,
        *("--num_trials=300", "--num_utterances=40", "--num_cohort=60"),
        *("--top_k=20", "--num_looped", "30", "10", "--repeats=2"),
    )
    assert "would take" in content["rows"][0]["note"]


def test_metrics(tmp_path):
    content = run_stage(
        metrics.main,
        tmp_path,
        *("--num_scores", "500", "900", "--num_reference=200", "--repeats=2"),
    )
    assert all(target["is_met"] for target in content["targets"])


@pytest.mark.parametrize("name", ["plain", "ours", "without_mfcon", "bf16"])
def test_a_step_is_timed_in_its_parts(name, capsys, monkeypatch):
    """In this process, whose memory is left as it is."""
    kept = []
    monkeypatch.setattr(
        training_step, "keep_freed_memory", lambda: kept.append(name)
    )
    args = argparse.Namespace(
        sizes=json.dumps(SIZES),
        device="cpu",
        batch_size=4,
        crop=0.5,
        warmups=1,
        steps=2,
    )
    variant = training_step.VARIANTS[name]
    training_step.run_variant(variant, args)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert bool(kept) == variant.keeps_memory
    assert len(result["parts"]) == 2
    for parts in result["parts"]:
        assert tuple(parts) == training_step.PARTS
        assert min(parts.values()) > 0
    assert ("flops" in result) == variant.is_plain


@pytest.mark.long
def test_stages_that_start_processes(tmp_path):
    run_stage(
        preparation.main,
        tmp_path,
        *("--num_files=40", "--seconds=0.5", "--num_tiny=300", "--repeats=1"),
    )
    content = run_stage(
        loading.main,
        tmp_path,
        *("--num_files=40", "--seconds=1", "--crop=0.5", "--batch_size=8"),
        *("--workers", "1", "--repeats=1"),
    )
    assert len(content["rows"]) == 7
    content = run_stage(
        training_step.main,
        tmp_path,
        *("--device=cpu", "--batch_size=4", "--crop=0.5", "--steps=1"),
        *("--repeats=1", "--warmups=1", f"--sizes={json.dumps(SIZES)}"),
        *("--variants", "plain", "plain_kept", "ours", "without_mfcon"),
    )
    assert len(content["targets"]) == 4
    assert set(content["milliseconds"]["ours"]) == set(training_step.PARTS)
    run_stage(
        growth.main,
        tmp_path,
        *("--num_files", "250", "300", "400", "--num_trials", "50", "100"),
        *("--batch_sizes", "2", "--crops", "1", "--repeats=1"),
        *("--device=cpu", f"--sizes={json.dumps(SIZES)}"),
    )
    table = (tmp_path / "table.md").read_text()
    assert len(re.findall(r"^- \w+: .*commit", table, re.M)) == 4


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["ours", "bf16", "compiled", "bf16_compiled"])
def test_a_step_on_a_gpu(name):
    args = argparse.Namespace(
        sizes=json.dumps(SIZES), device="cuda:0", batch_size=8, crop=1.0
    )
    step = training_step.Step(training_step.VARIANTS[name], args)
    for _ in range(2):
        assert min(step.run().values()) > 0
    assert step.peak_gb() > 0


def test_a_wrong_option_is_one_line():
    command = [sys.executable, "-m", "benchmarks.metrics", "--no_such=1"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--no_such=1" in result.stderr


def test_the_table_is_that_of_the_files():
    """All stages, measured at commits, on machines that are named."""
    files = {path.stem for path in RESULTS.glob("*.json")}
    assert files == set(STAGES)
    assert (RESULTS / "table.md").read_text() == make_table(RESULTS)
    for path in RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        assert content["machine"]
        assert "dirty" not in content["commit"]
        assert not re.search(r'"/', path.read_text())  # no path of a machine


def test_the_targets_in_the_readme_are_those_of_the_files():
    readme = (ROOT / "README.md").read_text()
    table = (RESULTS / "table.md").read_text()
    lines = table.splitlines()
    start = lines.index("| target | measured | bound | |")
    targets = lines[start : lines.index("", start)]
    assert len(targets) > 12
    for line in targets:
        assert line in readme, line
