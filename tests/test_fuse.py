"""Systems fused by weights that their development trials give."""

import json
import shutil

import fuse
import numpy as np
import pytest
from recipe_commands import run_verify

from custom_modules.calibration import LogisticCalibration
from custom_modules.scoring import read_scores

CALIBRATED = "--calibration=!ref <logistic>"


@pytest.fixture(scope="module")
def systems(corpus, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("systems")
    run_verify(corpus, trained / "model", folder / "cosine", CALIBRATED)
    run_verify(
        *(corpus, trained / "model", folder / "plda", CALIBRATED),
        *("--backend=!ref <plda>", "--lda_size=6", "--plda_rank=4"),
    )
    return folder / "cosine", folder / "plda"


def test_fused_scores_are_those_of_a_regression_by_hand(systems, tmp_path):
    fuse.main([*map(str, systems), f"--output={tmp_path}"])
    dev, test = (
        [read_scores(folder / name) for folder in systems]
        for name in ("development_scores.txt", "scores.txt")
    )
    calibration = LogisticCalibration(0.01)
    calibration.fit(
        np.column_stack([scores for _, scores in dev]),
        dev[0][0].is_target,
        ["cosine", "plda"],
    )
    trials, scores = read_scores(tmp_path / "scores.txt")
    expected = calibration(np.column_stack([scores for _, scores in test]))
    np.testing.assert_array_equal(scores, expected)
    assert trials.enrol == test[0][0].enrol
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["scoring"] == "fusion of cosine, plda"
    said = report["calibration"]
    assert list(said["weights"]) == ["cosine", "plda"]
    assert list(said["cllr"]) == ["cosine", "plda", "fused"]
    assert said["trials"] == "dev_trials.txt"
    for name, folder in zip(("cosine", "plda"), systems, strict=True):
        own = json.loads((folder / "report.json").read_text())
        assert said["cllr"][name] == own["calibration"]["cllr"]["after"]
        assert report["trials_sha256"] == own["trials_sha256"]


def test_fusions_are_fused_again(systems, tmp_path):
    """A fusion's folder has what a system's has."""
    fuse.main([*map(str, systems), f"--output={tmp_path / 'both'}"])
    fuse.main(
        [str(tmp_path / "both"), str(systems[0]), f"--output={tmp_path / 'c'}"]
    )
    assert (tmp_path / "c" / "report.json").is_file()


def test_a_folder_that_was_not_calibrated_is_named(systems, verified, tmp_path):
    with pytest.raises(
        ValueError, match=r"verification/development_scores\.txt is missing"
    ):
        fuse.main(
            [str(systems[0]), str(verified), f"--output={tmp_path / 'out'}"]
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("again", [False, True], ids=["one", "one twice"])
def test_one_system_is_no_fusion(systems, tmp_path, again):
    folders = [str(systems[0])] * (1 + again)
    with pytest.raises(ValueError, match="at least two folders, each once"):
        fuse.main([*folders, f"--output={tmp_path / 'out'}"])


def edited(folder, target, **changes):
    """A copy whose report says something else."""
    shutil.copytree(folder, target)
    path = target / "report.json"
    report = {**json.loads(path.read_text()), **changes}
    report = {k: v for k, v in report.items() if v is not None}
    path.write_text(json.dumps(report))
    return target


def test_folders_within_one_another_have_names(systems, tmp_path):
    one = edited(systems[0], tmp_path / "a")
    two = edited(systems[1], tmp_path / "a" / "b" / "a")
    fuse.main([str(one), str(two), f"--output={tmp_path / 'out'}"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["scoring"] == "fusion of ., b/a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition": "first 2 s"}, r"conditions \(as recorded, first 2 s\)"),
        ({"calibration": None}, "scores that were not calibrated"),
    ],
)
def test_systems_that_do_not_go_together_are_refused(
    systems, tmp_path, changes, message
):
    other = edited(systems[1], tmp_path / "other", **changes)
    with pytest.raises(ValueError, match=message):
        fuse.main([str(systems[0]), str(other), f"--output={tmp_path / 'o'}"])
    assert not (tmp_path / "o").exists()


def test_a_system_is_not_written_over(systems):
    before = (systems[0] / "scores.txt").read_bytes()
    with pytest.raises(ValueError, match="is one of the systems"):
        fuse.main([*map(str, systems), f"--output={systems[0]}"])
    assert (systems[0] / "scores.txt").read_bytes() == before


def test_other_trials_are_named(systems, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in systems[0].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    lines = (other / "scores.txt").read_text().splitlines(keepends=True)
    (other / "scores.txt").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="are of different trials"):
        fuse.main(
            [*map(str, (systems[0], other)), f"--output={tmp_path / 'o'}"]
        )
