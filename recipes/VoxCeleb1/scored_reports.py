"""Reports of verify.py with the scores beside them, for figures."""

import json
import os
from pathlib import Path

from figures import ScoredSystem

from custom_modules.metrics import equal_error_rate
from custom_modules.scoring import read_scores

KEYS = {
    "trials",
    "trials_sha256",
    "num_trials",
    "eer_percent",
    "eer_interval_percent",
    "eer_threshold",
}


def read_json(path: str | Path, origin: str) -> dict:
    """Read a JSON file that another command wrote."""
    path = Path(path).absolute()
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; {origin} writes it")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def read_system(path: str, label: str) -> tuple[dict, ScoredSystem]:
    """Read a report and the scores beside it.

    Arguments
    ---------
    path : str
        A report.json of verify.py.
    label : str
        What the figure calls it.

    Returns
    -------
    report : dict
        Its content.
    system : ScoredSystem
        The scores.

    Raises
    ------
    ValueError, FileNotFoundError
        Names the file that is missing, or is not of the same verification.
    """
    report = read_json(path, "verify.py")
    missing = KEYS - set(report)
    if missing:
        raise ValueError(
            f"{Path(path).absolute()}: no report of verify.py, it has no "
            f"{', '.join(sorted(missing))}"
        )
    scores_file = Path(path).with_name("scores.txt")
    trials, scores = read_scores(scores_file)
    eer, _ = equal_error_rate(scores, trials.is_target)
    if round(100 * eer, 4) != report["eer_percent"]:
        raise ValueError(
            f"{scores_file.absolute()}: its EER is {100 * eer:.4f} %, that of "
            f"the report.json beside it {report['eer_percent']} %: verify "
            "anew, one of them is of another verification"
        )
    system = ScoredSystem(
        label, scores, trials.is_target, tuple(report["eer_interval_percent"])
    )
    return report, system


def choose_labels(given: str | None, folders: list[Path]) -> list[str]:
    """Names of a figure's systems: those given, or what tells folders apart.

    Example
    -------
    >>> choose_labels(None, [Path("runs/a/test"), Path("runs/b/test")])
    ['a/test', 'b/test']
    >>> choose_labels("MFCon,AM-Softmax", [Path("a"), Path("b")])
    ['MFCon', 'AM-Softmax']
    """
    if given is None:
        paths = [folder.resolve() for folder in folders]
        common = Path(os.path.commonpath([path.parent for path in paths]))
        labels = [path.relative_to(common).as_posix() for path in paths]
    else:
        labels = given.split(",")
    if len(labels) != len(folders) or len(set(labels)) < len(labels):
        raise ValueError(
            f"--labels={','.join(labels)}: {len(set(labels))} different labels "
            f"for {len(folders)} systems: give each its own, with commas "
            "between"
        )
    return labels
