"""Every row is checked before anything is trained."""

import json
import re

import experiment_plan
import pytest
from experiment_arguments import parse
from experiment_plan import Plan
from recipe_commands import HPARAMS
from test_hparams import FILES as HPARAMS_FILES

EXPERIMENTS = experiment_plan.Path(experiment_plan.__file__).parent.joinpath(
    "experiments"
)
TABLES = sorted(
    path
    for path in EXPERIMENTS.glob("*.yaml")
    if path.name not in ("backends.yaml", "conditions.yaml", "demo.yaml")
)
SCALES = sorted(EXPERIMENTS.glob("scales/*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The recipe's hparams, and folders of data with a trial list alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hparams").symlink_to(HPARAMS)
    for name in ("data/VoxCeleb1", "data/one", "other/two"):
        (tmp_path / name).mkdir(parents=True)
        trials = f"1 {name[-3:]}/s/1.wav {name[-3:]}/s/2.wav\n"
        (tmp_path / name / "veri_test2.txt").write_text(trials)
        (tmp_path / name / "mine.txt").write_text(trials * 2)
    return tmp_path


@pytest.fixture
def plan(tmp_path):
    """Plan a table given as text."""
    small = {
        "mfcon.yaml": "{d_model: 16, d_ffn: 16, num_blocks: 1}",
        "mha.yaml": "{channels: [4, 4, 8]}",
    }
    text = "".join(f"{key}: {value}\n" for key, value in small.items())
    (tmp_path / "small.yaml").write_text(text)

    def make(rows, *words, head="hparams: hparams/mfcon.yaml"):
        path = tmp_path / "table.yaml"
        path.write_text(f"title: T\n{head}\nrows:\n{rows}\n")
        return Plan(parse([str(path), "--scale_file=small.yaml", *words]))

    return make


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_every_row_of_every_table_loads(path, scale):
    plan = Plan(parse([str(path), f"--scale_file={scale}"]))
    folders = [
        plan.run(row, candidate, 1986).folder
        for row in plan.table.rows
        for candidate in row.candidates
    ]
    assert len(set(folders)) == len(folders)  # no row is another one


def test_tables_share_the_rows_they_have_in_common():
    """SupCon of Table I, nothing shared of II, 0.1 of III, MFCon of IV."""
    folders = set()
    for number, label in enumerate(
        ["SupCon", "Nothing shared", "λ = 0.1", "MFCon"], 1
    ):
        table = EXPERIMENTS / f"mfcon_table{number}.yaml"
        plan = Plan(parse([str(table), "--d_model=16", "--d_ffn=16"]))
        (row,) = (row for row in plan.table.rows if row.label == label)
        folders.add(plan.run(row, row.candidates[0], 1986).folder)
    assert len(folders) == 1


def test_a_row_s_overrides_count_most_then_what_is_typed(plan):
    made = plan(
        "  - {label: a, overrides: {margin: 0.1}}\n  - {label: b}",
        "--margin=0.3",
        "--d_ffn=32",
        "--num_resamples=7",
        "--noprogressbar",
        "--device=cpu",
        head="hparams: hparams/mfcon.yaml\noverrides: {margin: 0.4, scale: 9}",
    )
    first, second = (
        made.run(row, row.candidates[0], 3) for row in made.table.rows
    )
    assert first.overrides == {
        "margin": 0.1,
        "scale": 9,
        "d_model": 16,
        "d_ffn": 32,
        "num_blocks": 1,
        "seed": 3,
    }
    assert second.overrides["margin"] == 0.3
    assert first.verification == {"num_resamples": 7}
    assert first.options == ["--noprogressbar", "--device=cpu"]


def test_a_second_corpus_is_verified_on_with_the_same_models(plan):
    row = "  - {label: a}"
    words = ["--data_folder=data/one", "--trials=mine.txt"]
    one = plan(row, *words)
    two = plan(row, *words, "--test_folder=other/two")
    runs = [p.run(p.table.rows[0], {}, 1) for p in (one, two)]
    assert runs[0].folder == runs[1].folder
    assert runs[0].verification["trials"] == "mine.txt"
    assert runs[1].verification == {"data_folder": "other/two"}
    assert runs[1].report.parent.name == "verification_two"
    assert runs[0].trials_sha256 != runs[1].trials_sha256
    assert [p.name for p in (one, two)] == ["table_small", "table_small_on_two"]
    assert "--test_folder=other/two" in two.typed


def test_options_that_change_the_model_get_another_folder(plan):
    def folder(*words):
        made = plan("  - {label: a}", *words)
        return made.run(made.table.rows[0], {}, 1).folder

    base = folder()
    assert folder("--device=cpu", "--noprogressbar") == base
    assert folder("--precision=bf16") != base
    assert folder("--max_grad_norm=5") != base


def test_the_ivector_s_row_has_no_second_corpus(plan):
    row = (
        "  - {label: a, script: ivector_plda.py, hparams: hparams/ivector.yaml}"
    )
    with pytest.raises(ValueError, match=r"'a': ivector_plda.*own data_folder"):
        plan(row, "--test_folder=other/two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mfcon.yml: {d_model: 16}", r"'mfcon\.yml' is not the YAML file of a"),
        ("verify.yaml: {seed: 1}", r"'verify\.yaml' is not"),
        ("mfcon.yaml: [1]", "must have keys and values"),
        ("mfcon.yaml: {seed: 1}", "seed cannot be overridden"),
        ("mfcon.yaml: {d_modell: 1}", "row 'a': .* no key 'd_modell'"),
    ],
)
def test_a_wrong_scale_is_refused(plan, folder, text, message):
    (folder / "wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        plan("  - {label: a}", "--scale_file=wrong.yaml")


def test_a_report_without_what_the_table_shows_is_refused(plan, folder):
    (folder / "r.json").write_text(
        json.dumps({"eer_percent": 1, "eer_interval_percent": [0, 2]})
    )
    with pytest.raises(ValueError, match=r"min_dcf_0\.01 is missing"):
        plan("  - {label: a, report: r.json}")


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (
            "  - {label: a}\n  - {label: b, overrides: {margn: 0.1}}",
            [],
            r"table\.yaml: row 'b': hparams/mfcon\.yaml has no key 'margn'",
        ),
        (
            "  - {label: b, hparams: hparams/none.yaml}",
            [],
            r"row 'b': .*none\.yaml: there is no such YAML file",
        ),
        ("  - {label: a, script: x.py}", [], "row 'a': script 'x.py' is unkn"),
        (
            "  - {label: a, overrides: {num_heads: 3}}",
            [],
            r"row 'a': .*num_heads",
        ),
        (
            "  - {label: a, overrides: {pooling: !ref <nowhere>}}",
            [],
            "row 'a': .*nowhere",
        ),
        ("  - {label: a}", ["--epochs=3"], "no row has the key 'epochs'"),
        ("  - {label: a}", ["--rows=a; c"], "there is no row 'c'; there are a"),
        ("  - {label: a}", ["--seeds=1,1"], "--seeds=1,1: a seed is given tw"),
        ("  - {label: a}", ["--num_gpus=0"], "--num_gpus=0: at least 1"),
        (
            "  - {label: a, overrides: {seed: 1}}",
            [],
            "row 'a': seed cannot be overridden",
        ),
        ("  - {label: a}", ["--sweep={lr: []}"], "lr has no values to try"),
        ("  - {label: a}", ["--data_folder=none"], "none"),
        ("  - {label: a}", ["--seed=3"], "--seed: every run gets its own"),
        ("  - {label: a}", ["--seeds=x"], "--seeds=x: whole numbers"),
        ("  - {label: a}", ["--sweep=margin"], "--sweep=margin: write keys"),
        ("  - {label: a}", ["--what"], "--what: write overrides as --key=val"),
        ("  - {label: a}", ["what"], "'what': write overrides as --key=value"),
        (
            "  - {label: a, report: r.json}",
            [],
            r"r\.json: there is no such rep",
        ),
    ],
)
def test_an_error_names_row_and_key(plan, rows, words, message):
    with pytest.raises((ValueError, OSError), match=re.compile(message, re.S)):
        plan(rows, *words)


def test_a_sweep_is_typed_or_written(plan):
    made = plan("  - {label: a}", "--sweep={margin: [0.1, 0.3], scale: [20]}")
    assert [row.label for row in made.table.rows] == [
        "a",
        "margin 0.1, scale 20",
        "margin 0.3, scale 20",
    ]


def test_scales_name_yaml_files_that_exist():
    names = {path.name for path in HPARAMS_FILES}
    for path in SCALES:
        assert set(experiment_plan.read_yaml(path)) <= names


STARTS = """\
  - {label: base, overrides: {num_epochs: 6}}
  - {label: more, init_from: base, overrides: {num_epochs: 2}}
  - {label: other}
  - label: mean
    init_from: more
    script: average_checkpoints.py
    hparams: hparams/average.yaml
"""


def test_a_row_starts_from_the_run_of_another_of_the_same_seed(plan):
    made = plan(STARTS)
    base, more, other, mean = made.table.rows
    run = made.run(more, more.candidates[0], 7)
    start = made.run(base, base.candidates[0], 7).folder
    assert run.overrides["init_from"] == str(start)
    assert start.name.endswith("-7")
    assert "init_from" not in made.run(other, other.candidates[0], 7).overrides
    # Another start is another result, and so is what starts from it.
    for row in (more, mean):
        folders = {
            p.run(row, row.candidates[0], 7).folder.name
            for p in (made, plan(STARTS, "--margin=0.3"))
        }
        assert len(folders) == 2
    averaged = made.run(mean, mean.candidates[0], 7)
    assert averaged.overrides["init_from"] == str(run.folder)
    assert averaged.verification is not None


def test_a_row_is_run_with_what_it_starts_from(plan):
    assert plan(STARTS, "--rows=mean").chosen == {"mean", "more", "base"}
    assert plan(STARTS, "--rows=other").chosen == {"other"}
