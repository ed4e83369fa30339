"""What the READMEs say to type, typed."""

import ast
import csv
import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import average_checkpoints
import compare
import conditions
import export_model
import fuse
import ivector_plda
import numpy as np
import pack
import plot
import pytest
import reproduce
import synthetic_corpus
import torch
import train_speaker_embeddings
import verify
import verify_files
import yaml
from command import TaglessLoader
from experiment_table import read_table
from hyperpyyaml import load_hyperpyyaml
from recipe_commands import NARROW, NARROW_IVECTOR, NARROW_MHA, merged

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "VoxCeleb1"
READMES = [ROOT / "README.md", RECIPE / "README.md"]
MAINS = {
    "train_speaker_embeddings.py": train_speaker_embeddings.main,
    "verify.py": verify.main,
    "average_checkpoints.py": average_checkpoints.main,
    "compare.py": compare.main,
    "export_model.py": export_model.main,
    "fuse.py": fuse.main,
    "conditions.py": conditions.main,
    "verify_files.py": verify_files.main,
    "ivector_plda.py": ivector_plda.main,
    "reproduce.py": reproduce.main,
    "pack.py": pack.main,
    "plot.py": plot.main,
    "synthetic_corpus.py": synthetic_corpus.main,
}
UTTERANCE = "data/VoxCeleb1/wav/id10270/x6uYqmx31kE/00001.wav"
FEW = ["--num_workers=0", "--num_resamples=20"]


def commands(readme):
    """The words of every `python …` line of a README, in order."""
    text = readme.read_text().replace("\\\n", " ")
    return [
        shlex.split(line)
        for line in re.findall(r"^    (python .+)$", text, re.M)
    ]


def block(language):
    """The README's one fenced block of a language."""
    (text,) = re.findall(
        rf"```{language}\n(.*?)```", READMES[0].read_text(), re.S
    )
    return text


def narrowed(script, arguments):
    """The words of a README's line, and what makes it a matter of seconds."""
    typed = {word.partition("=")[0] for word in arguments}
    if script == "train_speaker_embeddings.py":
        narrow = NARROW_MHA if "mha.yaml" in arguments[0] else NARROW
        narrow = ["--num_epochs=1", *narrow[1:]]
        if "--num_dev_speakers" in typed:
            narrow.remove("--num_dev_speakers=2")
    elif script == "ivector_plda.py":
        narrow = NARROW_IVECTOR
    elif script == "reproduce.py":
        narrow = ["--seeds=1986", *FEW, "--num_epochs=1"]
        narrow += NARROW_MHA[1:] if "mha" in arguments[0] else NARROW[1:]
        label = read_table(arguments[0]).rows[-1].label
        narrow += [f"--rows={label}"]
    elif script == "synthetic_corpus.py":
        narrow = ["--num_train_speakers=2", "--num_test_speakers=4"]
        narrow += ["--num_trials=40", "--num_processes=1"]
        narrow += ["--utterances_per_session=2", "--num_sessions=2"]
    elif script == "plot.py":
        narrow = FEW if arguments[0] == "blocks" else []
    elif script in ("compare.py", "fuse.py"):
        narrow = FEW[1:]
    elif script == "average_checkpoints.py":
        narrow = ["--num_averaged=1", "--num_workers=0"]
    elif script in ("pack.py", "verify_files.py", "export_model.py"):
        narrow = []
    else:
        narrow = [*FEW, *(["--top_k=5"] if "--top_k" in typed else [])]
    return merged(*arguments, *narrow)


@pytest.mark.parametrize("readme", READMES, ids=["root", "recipe"])
def test_the_commands_of_a_readme_run_in_order(
    readme, corpus, tmp_path, monkeypatch, commands_in_process
):
    """As typed in the recipe's folder, narrowed; data where they look."""
    (tmp_path / "hparams").symlink_to(RECIPE / "hparams")
    (tmp_path / "experiments").symlink_to(RECIPE / "experiments")
    (tmp_path / "data").mkdir()
    for name in ("VoxCeleb1", "voxocean", "musan", "RIRS_NOISES"):
        part = {"musan": "noise", "RIRS_NOISES": "rir"}.get(name, "")
        (tmp_path / "data" / name).symlink_to(corpus / part)
    monkeypatch.chdir(tmp_path)
    utterance, *others = (corpus / "wav" / "id10270").rglob("*.wav")
    for name, wav in zip("abc", others, strict=True):
        (tmp_path / f"{name}.wav").symlink_to(wav)
    assert len(commands(readme)) >= 3
    for _, script, *arguments in commands(readme):
        arguments = [
            word.replace("/path/to/", "data/").replace(
                UTTERANCE, str(utterance)
            )
            for word in arguments
        ]
        MAINS[script](narrowed(script, arguments))


def test_the_inference_snippet_runs(trained, corpus, monkeypatch):
    wavs = sorted((corpus / "wav" / "id10270").rglob("*.wav"))
    code = block("python")
    for old, new in (
        ("runs/mfcon/1986/model", trained / "model"),
        ("a.wav", wavs[0]),
        ("b.wav", wavs[1]),
    ):
        assert code.count(old) == 1
        code = code.replace(old, str(new))
    names = {}
    exec(code, names)  # the README's own words
    expected = names["score"] > names["model"].hparams.threshold
    assert names["same_speaker"] == expected


def test_the_yaml_snippet_makes_an_embedding_model():
    hparams = load_hyperpyyaml(block("yaml"))
    model = hparams["embedding_model"].eval()
    feats, lengths = torch.rand(2, 100, 80), torch.tensor([1.0, 0.5])
    embeddings = model(feats, lengths)
    assert embeddings.shape == (2, 1, 192)
    alone = model(feats[1:, :50])
    torch.testing.assert_close(embeddings[1:], alone, atol=1e-4, rtol=0.0)


def test_the_code_map_names_every_file_once():
    text = READMES[0].read_text()
    table = text[text.index("## Code map") : text.index("## Citing")]
    named = re.findall(r"`\s*([\w*]+\.py)`", table)
    assert len(named) == len(set(named))
    files = {
        path.name
        for folder in (ROOT / "custom_modules", RECIPE)
        for path in folder.glob("*.py")
        if path.name != "__init__.py"
    }
    globbed = {name for name in files if name.startswith("synthetic_")}
    assert set(named) - {"synthetic_*.py", "test_recipes.py"} == files - globbed


def test_the_menu_names_every_verb():
    shown = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for verb in ("demo", "test", "test-long", "check", "benchmarks"):
        assert re.search(rf"^{verb} ", shown, re.M), verb
    for command in re.findall(r"^    make (\S+)", READMES[0].read_text(), re.M):
        assert command in shown


def test_the_package_requires_what_it_imports_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {
        re.match(r"[\w-]+", line)[0] for line in project["dependencies"]
    }
    imported = set()
    for path in (ROOT / "custom_modules").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"custom_modules"}
    names = packages_distributions()
    assert {names[name][0] for name in third_party} == required


def test_the_demo_overrides_keys_that_exist():
    demo = yaml.safe_load(
        re.sub(r"!ref", "", (RECIPE / "experiments/demo.yaml").read_text())
    )
    hparams = yaml.load(
        (ROOT / demo["hparams"]).read_text(), Loader=TaglessLoader
    )
    assert set(demo["overrides"]) <= set(hparams)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "results").rglob("report.json")),
    ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}",
)
def test_the_results_in_the_readme_are_those_of_the_files(path):
    report = json.loads(path.read_text())
    low, high = report["eer_interval_percent"]
    row = (
        f"{report['eer_percent']:.2f} ({low:.2f} to {high:.2f}) | "
        f"{report['min_dcf_0.01']:.3f} |"
    )
    assert row in READMES[0].read_text()
    for key in ("trials_sha256", "machine", "seed", "commit"):
        assert report[key], key
    assert not re.search(r'"/', path.read_text())  # no path of a machine


TABLES = sorted((ROOT / "results" / "tables").rglob("table.md"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_the_tables_in_the_readme_are_those_of_the_files(path):
    """Measured by the reports beside them, shown row by row."""
    text = READMES[1].read_text()
    shown = [line for line in path.read_text().splitlines() if "| `" in line]
    with open(
        path.with_name("table.csv"), newline="", encoding="utf-8"
    ) as file:
        runs = list(csv.DictReader(file))
    assert len(shown) == len({run["system"] for run in runs}) >= 2
    for line in shown:
        label, eer, interval, cost = line.strip("| ").split(" | ")[:4]
        assert f"| {label} | {eer} | {interval} | {cost} |" in text
        of_row = [run for run in runs if run["system"] == label]
        rates = [float(run["eer_percent"]) for run in of_row]
        assert float(eer.split()[0]) == pytest.approx(np.mean(rates), abs=0.006)
    for run in runs:
        report = json.loads(
            (path.parent / "reports" / f"{run['run']}.json").read_text()
        )
        assert float(run["eer_percent"]) == report["eer_percent"]
        assert run["trials_sha256"] == report["trials_sha256"]
        assert "dirty" not in report["commit"]


def test_the_figures_in_the_readme_are_there():
    names = re.findall(r"\]\((\S+\.png)\)", READMES[1].read_text())
    assert len(names) >= 4
    for name in names:
        path = (RECIPE / name).resolve()
        assert path.stat().st_size > 10_000
        assert path.with_suffix(".svg").stat().st_size > 10_000


def test_the_figures_of_int8_in_the_readme_are_those_of_the_file():
    path = ROOT / "results" / "int8" / "voxocean.json"
    result = json.loads(path.read_text())
    rates = result["eer_percent"]
    difference, low, high = rates["difference"]
    sizes = [result["bytes"][name] / 1e6 for name in ("int8", "float32")]
    text = " ".join(READMES[0].read_text().split())
    for figure in (
        f"{rates['int8'][0]:.2f} and {rates['float32'][0]:.2f} % on VoxOcean",
        f"{result['num_trials']:,} trials, a difference of {difference:.2f}",
        f"points (95 %: {low:.2f} to {high:.2f}), in {sizes[0]:.1f} MB instead",
        f"of {sizes[1]:.1f} (one training",
    ):
        assert figure in text
    assert "dirty" not in result["commit"]
