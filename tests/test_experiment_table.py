"""Tables: what a file asks for, and what is refused by name."""

import pytest
from experiment_table import read_table

BASE = "title: T\nhparams: hparams/mfcon.yaml\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "table.yaml"
        path.write_text(text)
        return read_table(path)

    return read


def test_tags_stay_text_and_tune_makes_candidates(read):
    (row,) = read(
        f"{BASE}rows:\n"
        "  - label: a\n"
        "    overrides: {contrastive: !ref <triplet_loss>, margin: 0.1}\n"
        "    tune: {scale: [15, 30], lr: [1, 2]}\n"
        "    paper: {eer_percent: 2.5}\n"
    ).rows
    assert row.script == "train_speaker_embeddings.py"
    assert row.paper == {"eer_percent": 2.5}
    fixed = {"contrastive": "!ref <triplet_loss>", "margin": 0.1}
    assert row.candidates == [
        {**fixed, "scale": scale, "lr": lr}
        for scale in (15, 30)
        for lr in (1, 2)
    ]


def test_a_sweep_adds_a_row_for_every_combination(read):
    rows = read(f"{BASE}sweep: {{margin: [0.1, 0.2], scale: 30}}\n").rows
    assert [row.label for row in rows] == [
        "margin 0.1, scale 30",
        "margin 0.2, scale 30",
    ]
    assert [row.candidates for row in rows] == [
        [{"margin": 0.1, "scale": 30}],
        [{"margin": 0.2, "scale": 30}],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hparams: x\n", r"table\.yaml: key 'title' is missing"),
        (f"{BASE}colour: red\n", "key 'colour' is unknown; there are claim"),
        (BASE, "there are no rows"),
        (f"{BASE}rows: [{{overrides: {{}}}}]\n", "row 1: key 'label' is miss"),
        (f"{BASE}rows: [a]\n", "row 1 has no keys"),
        (
            f"{BASE}rows: [{{label: a, override: {{}}}}]\n",
            "row 'a': key 'override' is unknown",
        ),
        (
            f"{BASE}rows: [{{label: a, paper: {{eer: 1}}}}]\n",
            "row 'a': key 'eer' is unknown; there are eer_percent, min_dcf",
        ),
        (f"{BASE}rows: [{{label: a}}, {{label: a}}]\n", "'a' is given twice"),
        ("title: T\nrows: [{label: a}]\n", "row 'a': hparams is missing"),
        ("title: T\nsweep: {lr: [1]}\n", "sweep needs hparams"),
        (
            f"{BASE}rows: [{{label: a, report: r.json, tune: {{lr: [1]}}}}]\n",
            "row 'a': a row with a report is not trained",
        ),
        (f"{BASE}seeds: 1986\nrows: [{{label: a}}]\n", "must be a list of dif"),
        (f"{BASE}seeds: [1, 1]\nrows: [{{label: a}}]\n", "must be a list of"),
        (f"{BASE}overrides: [1]\n", "overrides must be keys and their values"),
        (
            f"{BASE}rows: [{{label: a, tune: {{lr: []}}}}]\n",
            "row 'a': lr has no values",
        ),
        (
            f"{BASE}rows: [{{label: a, tune: {{seed: [1]}}}}]\n",
            "row 'a': seed cannot be overridden",
        ),
        (
            f"{BASE}rows: [{{label: a, init_from: b}}, {{label: b}}]\n",
            "row 'a': init_from 'b' is no earlier row that .*there are none",
        ),
        (
            f"{BASE}rows: [{{label: a, tune: {{lr: [1, 2]}}}}, "
            "{label: b, init_from: a}]\n",
            "row 'b': init_from 'a' is no earlier row that is trained, without",
        ),
        (
            f"{BASE}rows: [{{label: a, report: r.json, init_from: a}}]\n",
            "neither hparams nor overrides nor tune nor init_from",
        ),
        ("title: [\n", r"table\.yaml: not valid YAML"),
        ("just text\n", "lines are expected"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_row_and_key(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.*no such YAML file"):
        read_table(tmp_path / "nowhere.yaml")
