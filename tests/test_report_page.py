"""The page of a report: its figures, its recordings, what it leaves out."""

import base64
import hashlib
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import report_page
import soundfile
from recipe_commands import run_verify
from report import make_report
from report_page import MAX_BYTES, write_report_page
from torch import nn

from custom_modules.scoring import Trials, utterance_id

NUM_SPEAKERS = 6
NUM_UTTERANCES = 4  # of each speaker
RESAMPLES = 10
NAME = '<img src="x" onerror="alert(1)">'
LEAST_CONTRAST = 4.5  # of text, WCAG 2.2 level AA


class Page(HTMLParser):
    """Elements (tag, attributes) and the texts of every table's rows."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.tables = text, [], {}
        self.rows, self.cell, self.caption = None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th", "caption"):
            self.cell = []

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append("".join(self.cell))
            self.cell = None
        elif tag == "caption":
            self.caption, self.cell = "".join(self.cell), None
        elif tag == "table":
            self.tables[self.caption] = self.rows[1:]

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def make_case(speakers=None, seed=0):
    """All pairs of some speakers' utterances, with scores that err."""
    rng = np.random.default_rng(seed)
    speakers = speakers or [f"id1027{i}" for i in range(NUM_SPEAKERS)]
    utt_ids = [
        f"{s}/x/{i:05d}" for s in speakers for i in range(NUM_UTTERANCES)
    ]
    pairs = [(a, b) for a in utt_ids for b in utt_ids if a < b]
    enrol, test = (list(side) for side in zip(*pairs, strict=True))
    is_target = np.array([a.split("/")[0] == b.split("/")[0] for a, b in pairs])
    scores = np.where(is_target, 0.6, 0.3) + 0.2 * rng.normal(size=len(pairs))
    return Trials([f"{name}.wav" for name in enrol], test, is_target), scores


def report_of(trials, scores, origin=None):
    return make_report(trials, scores, RESAMPLES, 0, origin or {})


def write(folder, report, trials, scores, *others, **named):
    write_report_page(
        folder / "report.html", report, trials, scores, *others, **named
    )
    return Page((folder / "report.html").read_text("utf-8"))


def write_noises(folder, trials, seconds, rate=16000, amplitude=0.5):
    files = {}
    rng = np.random.default_rng(0)
    for name in dict.fromkeys(map(utterance_id, trials.enrol + trials.test)):
        files[name] = str(folder / f"{len(files)}.wav")
        samples = rng.uniform(-amplitude, amplitude, round(seconds * rate))
        soundfile.write(files[name], samples, rate)
    return files


@pytest.fixture
def case(tmp_path):
    trials, scores = make_case()
    return trials, scores, write_noises(tmp_path, trials, 0.3)


@pytest.fixture(scope="module")
def of_a_model(corpus, trained, tmp_path_factory):
    """What verify.py writes of the trained model."""
    output = tmp_path_factory.mktemp("page")
    folder = trained / "model"
    yes = ("--page=True", "--block_rates=True")
    report = run_verify(corpus, folder, output, *yes)
    return Page((output / "report.html").read_text("utf-8")), report


def test_the_headline_is_the_reports(case, tmp_path):
    trials, scores, files = case
    report = report_of(trials, scores, {"trials": "mine.txt"})
    report["min_dcf_0.01_interval"] = [0.6543, 0.9876]
    text = write(tmp_path, report, trials, scores, files).text
    low, high = report["eer_interval_percent"]
    for shown in (
        f">{report['eer_percent']:.2f} %<",
        f">{low:.2f} to {high:.2f} %<",
        f">{report['min_dcf_0.01']:.3f}<",
        f">{report['min_dcf_0.001']:.3f}<",
        ">0.654 to 0.988<",
        f">{report['num_trials']}<",
        f">{report['num_target_trials']}<",
        f">{NUM_SPEAKERS}<",
        ">mine.txt<",
    ):
        assert shown in text, shown
    assert "NOT A FAIR TEST" not in text


def test_speakers_that_were_trained_on_are_told(case, tmp_path):
    trials, scores, files = case
    report = report_of(trials, scores, {"num_speakers_trained_on": 2})
    text = write(tmp_path, report, trials, scores, files).text
    assert "NOT A FAIR TEST</strong>: 2 of 6 speakers were trained" in text


def test_a_calibrations_figures_are_shown_whatever_they_are(case, tmp_path):
    trials, scores, files = case
    calibration = {
        "cllr": {"before": 0.91234, "after": 0.25},
        "new": {"before": None, "after": 3},
        "weights": {"score": 8.5, "duration": -1e-5},
        "trials": "development",
        "num_trials": 7,
    }
    report = report_of(trials, scores, {"calibration": calibration})
    page = write(tmp_path, report, trials, scores, files)
    assert page.tables["cllr, new"] == [
        ["cllr", "0.9123", "0.25"],
        ["new", "", "3"],
    ]
    assert page.tables["weights"] == [["weights", "8.5", "-1e-05"]]
    thresholds = page.tables["Thresholds on these trials"]
    assert ["Bayes(0.01)", f"{math.log(99):.4f}"] in [
        [row[0][2:], row[1]] for row in thresholds
    ]
    assert "calibrated log-likelihood ratio" in page.text
    assert "<dd>development</dd>" in page.text


class Model(NamedTuple):
    """As far as a page without attention needs it."""

    hparams: SimpleNamespace
    mods: dict


@pytest.mark.parametrize(
    ("origin", "is_shown"),
    [
        ({"scoring": "cosine", "score_normalisation": "none"}, True),
        ({"scoring": "cosine", "score_normalisation": "s-norm"}, False),
        ({"scoring": "cosine, centred", "score_normalisation": "none"}, False),
        (
            {
                "scoring": "cosine",
                "score_normalisation": "none",
                "calibration": {"kind": "logistic"},
            },
            False,
        ),
    ],
    ids=["plain", "normalised", "centred", "calibrated"],
)
def test_a_models_threshold_is_shown_with_plain_cosines_alone(
    tmp_path, origin, is_shown
):
    trials, scores = make_case()
    model = Model(
        SimpleNamespace(threshold=0.4321), {"embedding_model": nn.Linear(1, 1)}
    )
    report = report_of(trials, scores, origin)
    page = write(tmp_path, report, trials, scores, model=model)
    assert ("0.4321" in page.text) == is_shown
    assert ("it is of plain cosines" in page.text) != is_shown
    assert "Linear has 0 parts with weights of frames" in page.text


def test_the_condition_of_degraded_trials_is_told(tmp_path):
    trials, scores = make_case()
    report = report_of(trials, scores, {"condition": "cut to 2 s"})
    page = write(tmp_path, report, trials, scores)
    assert "<dt>Condition</dt><dd>cut to 2 s</dd>" in page.text
    assert "Scored were recordings cut to 2 s: players" in page.text


def test_each_thresholds_errors_are_counted(case, tmp_path):
    trials, scores, files = case
    report = report_of(trials, scores)
    page = write(tmp_path, report, trials, scores, files)
    rows = page.tables["Thresholds on these trials"]
    threshold = report["eer_threshold"]
    targets = [s for s, t in zip(scores, trials.is_target, strict=True) if t]
    others = [s for s, t in zip(scores, trials.is_target, strict=True) if not t]
    misses = 100 * sum(s < threshold for s in targets) / len(targets)
    false_alarms = 100 * sum(s >= threshold for s in others) / len(others)
    figures = (f"{threshold:.4f}", f"{misses:.2f}", f"{false_alarms:.2f}")
    assert rows[0] == ["A EER", *figures]


def test_the_worst_trials_are_those_of_a_plain_sort(case, tmp_path):
    trials, scores, files = case
    report = report_of(trials, scores)
    page = write(tmp_path, report, trials, scores, files)
    by_score = sorted(
        zip(scores, trials.enrol, trials.test, trials.is_target, strict=True)
    )
    others = [row for row in reversed(by_score) if not row[3]][:20]
    targets = [row for row in by_score if row[3]][:20]
    for caption, expected in (
        ("False accepts, the worst 20", others),
        ("False rejects, the worst 20", targets),
    ):
        found = page.tables[caption]
        assert len(found) == 20
        for rank, (row, (score, enrol, test, _)) in enumerate(
            zip(found, expected, strict=True), start=1
        ):
            assert row[:2] == [str(rank), f"{score:.4f}"]
            for cell, name in zip(row[2:], (enrol, test), strict=True):
                speaker, rest = utterance_id(name).split("/", 1)
                assert cell.startswith(f"{speaker} {rest}")


def test_each_recording_is_embedded_once_and_found_again(case, tmp_path):
    trials, scores, files = case
    page = write(tmp_path, report_of(trials, scores), trials, scores, files)
    sources = [attrs["src"] for attrs in page.all("audio")]
    assert len(sources) == len(set(sources)) <= len(files)
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    links = [a["href"] for a in page.all("a") if a.get("class") == "again"]
    assert len(links) + len(sources) == 4 * 20
    assert {link.removeprefix("#") for link in links} <= ids
    labels = {attrs["aria-label"] for attrs in page.all("audio")}
    assert labels <= {f"Recording {name}" for name in files}


def test_a_recording_is_the_first_six_seconds_of_its_file(tmp_path):
    trials = Trials(
        ["a/s/1", "a/s/1"], ["a/s/2", "b/s/1"], np.array([1, 0]) > 0
    )
    scores = np.array([0.9, 0.1])
    files = write_noises(tmp_path, trials, seconds=7.0)
    page = write(tmp_path, report_of(trials, scores), trials, scores, files)
    assert "cut to their first 6 s" in page.text
    for attrs in page.all("audio"):
        head, data = attrs["src"].split(",")
        assert head == "data:audio/flac;base64"
        found, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        path = files[attrs["aria-label"].removeprefix("Recording ")]
        assert rate == 16000
        np.testing.assert_array_equal(found, soundfile.read(path)[0][:96000])


def test_noise_of_forty_trials_stays_below_12_mb(tmp_path):
    """It does not compress: all are cut alike, to less than 6 s."""
    speakers = [f"id{i:05d}" for i in range(80)]
    pairs = [(f"{s}/x/1", f"{s}/x/2") for s in speakers[:20]]
    pairs += [
        (f"{a}/x/3", f"{b}/x/4")
        for a, b in zip(speakers[40:60], speakers[60:], strict=True)
    ]
    enrol, test = (list(side) for side in zip(*pairs, strict=True))
    trials = Trials(enrol, test, np.arange(40) < 20)
    scores = np.random.default_rng(0).normal(size=40)
    files = write_noises(tmp_path, trials, seconds=6.0, amplitude=1.0)
    assert len(files) == 80
    page = write(tmp_path, report_of(trials, scores), trials, scores, files)
    size = (tmp_path / "report.html").stat().st_size
    assert 0.9 * MAX_BYTES < size < MAX_BYTES
    (cut,) = re.findall(r"cut to their first ([\d.]+) s", page.text)
    assert 3.0 < float(cut) < 6.0
    durations = {
        soundfile.info(
            io.BytesIO(base64.b64decode(attrs["src"].split(",")[1]))
        ).duration
        for attrs in page.all("audio")
    }
    assert durations == {float(cut)}
    assert len(page.all("audio")) == 80


def test_nothing_is_loaded_and_no_other_script_runs(case, tmp_path):
    trials, scores, files = case
    page = write(tmp_path, report_of(trials, scores), trials, scores, files)
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "style", "onclick"):
            value = attrs.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"https?:|url\(|@import", page.text)
    (policy,) = (
        attrs["content"]
        for attrs in page.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest())
        assert f"{tag}-src 'sha256-{digest.decode()}'" in policy


def test_names_of_files_are_escaped(tmp_path):
    speakers = [
        "id1</td><script>alert(1)</script>",
        'id2"onplay="alert(1)',
        "c",
    ]
    trials, scores = make_case(speakers)
    files = write_noises(tmp_path, trials, 0.2)
    origin = {"trials": NAME, "model": NAME, "other": NAME}
    report = report_of(trials, scores, origin)
    report["training"] = {"overrides": f"a: 1\nb: {NAME}"}
    settings = {NAME: NAME}
    page = write(tmp_path, report, trials, scores, files, settings=settings)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    for _, attrs in page.elements:
        assert not {"onerror", "onplay"} & set(attrs)
    row = page.tables["False accepts, the worst 20"][0]
    assert any(row[2].startswith(name.split("/")[0]) for name in speakers)


def test_what_is_not_known_is_left_out_and_said_so(tmp_path):
    """Scores alone: no audio, no model, no table of speakers."""
    trials, scores = make_case()
    page = write(tmp_path, report_of(trials, scores), trials, scores)
    for said in (
        "EER by gender is left out: the data folder has no vox1_meta.csv",
        "EER by duration is left out: there are no files",
        "Left out: not measured.",
        " (there is no file).",
        "Attention weights are left out: there is no model.",
        "There is no threshold of development trials.",
        "Training: not known.",
        "Settings of the verification: not known.",
    ):
        assert said in page.text, said
    assert page.all("audio") == []
    assert len(page.tables["False rejects, the worst 20"]) == 20


def test_a_file_that_is_no_audio_costs_one_player(case, tmp_path):
    trials, scores, files = case
    lowest = np.where(trials.is_target, scores, np.inf).argmin()
    spoilt = utterance_id(trials.enrol[lowest])
    Path(files[spoilt]).write_text("no audio")
    page = write(tmp_path, report_of(trials, scores), trials, scores, files)
    assert "Recordings left out: 1 (the file cannot be read)." in page.text
    labels = {attrs["aria-label"] for attrs in page.all("audio")}
    assert labels
    assert f"Recording {spoilt}" not in labels


@pytest.mark.parametrize("kind", ["apart", "equal", "two"])
def test_scores_of_the_extremes_are_drawn(tmp_path, kind):
    """No errors at all; one score for all; one trial of each kind."""
    trials, scores = make_case()
    if kind == "apart":
        scores = trials.is_target + 0.01 * scores
    elif kind == "equal":
        scores = np.full(len(scores), 0.5)
    else:
        places = [int(trials.is_target.argmax()), len(scores) - NUM_UTTERANCES]
        places[1] = int((~trials.is_target).argmax())
        trials = Trials(
            [trials.enrol[i] for i in places],
            [trials.test[i] for i in places],
            trials.is_target[places],
        )
        scores = scores[places]
    page = write(tmp_path, report_of(trials, scores), trials, scores)
    assert len(page.all("svg")) >= 2
    assert not re.search(r'="[^"]*\b(nan|inf)\b', page.text)


def test_a_model_is_shown_with_blocks_groups_and_attention(of_a_model):
    page, report = of_a_model
    block_rates = report["block_rates"]
    rows = page.tables["EER of every block"]
    for row, statistics, head in zip(
        rows[:-1], block_rates["statistics"], block_rates["heads"], strict=True
    ):
        assert row[0] == str(statistics["block"])
        for cell, point in zip(row[1:], (statistics, head), strict=True):
            low, high = point["eer_interval_percent"]
            eer = point["eer_percent"]
            assert cell == f"{eer:.2f} ({low:.2f} to {high:.2f})"
    assert rows[-1][1].startswith(f"{report['eer_percent']:.2f} (")
    assert len(page.tables["EER by gender"]) == 2
    assert len(page.tables["EER by duration"]) == 3
    assert "D development EER" in [
        row[0] for row in page.tables["Thresholds on these trials"]
    ]
    pictures = re.findall(r'<svg class="attention" role="img"', page.text)
    assert len(pictures) == len(page.all("audio")) > 8
    assert "left out" not in page.text
    for value in (report["trials_sha256"], report["machine"]):
        assert f"<dd>{value}</dd>" in page.text


def test_every_picture_has_a_text(of_a_model):
    page, _ = of_a_model
    for svg in re.findall(r"<svg .*?</svg>", page.text, re.S):
        if 'aria-hidden="true"' in svg:
            continue
        assert 'role="img"' in svg
        assert re.search(r"<title>[^<]{5,}</title><desc>[^<]{5,}</desc>", svg)


def test_the_page_and_the_blocks_are_written_where_asked_for(
    corpus, trained, tmp_path
):
    no = ("--page=False", "--block_rates=False")
    report = run_verify(corpus, trained / "model", tmp_path, *no)
    assert "block_rates" not in report
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.json", "scores.txt"}


def test_an_error_leaves_the_old_page(case, tmp_path, monkeypatch):
    trials, scores, files = case
    page = tmp_path / "report.html"
    page.write_text("old")
    monkeypatch.setattr(report_page, "MAX_BYTES", 130_000)
    with pytest.raises(ValueError, match="show fewer trials"):
        write(tmp_path, report_of(trials, scores), trials, scores, files)
    assert page.read_text() == "old"
    assert not list(tmp_path.glob(".report*"))


def luminance(colour):
    """Relative, of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("is_dark", [False, True])
def test_all_text_has_contrast_enough(is_dark):
    style = Path(report_page.FOLDER / "report_template.css").read_text()
    light, dark, *_ = re.findall(r":root \{(.*?)\}", style, re.S)
    colours = dict(
        re.findall(r"--([\w-]+): (#\w{6});", dark if is_dark else light)
    )
    pairs = [("warn", "warn-paper")]
    pairs += [
        (text, paper)
        for text in ("ink", "soft", "accent", "target", "other")
        for paper in ("paper", "card")
    ]
    for text, paper in pairs:
        low, high = sorted(luminance(colours[name]) for name in (text, paper))
        assert (high + 0.05) / (low + 0.05) >= LEAST_CONTRAST, (text, paper)


def test_the_settings_are_those_of_the_command(of_a_model):
    page, report = of_a_model
    for key, value in (("num_resamples", "20"), ("page", "True")):
        assert f"<dt>{key}</dt><dd>{value}</dd>" in page.text
    training = json.dumps(report["training"]["epoch"])
    assert f"<dt>epoch</dt><dd>{training}</dd>" in page.text
