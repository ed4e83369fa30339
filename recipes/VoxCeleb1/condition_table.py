"""Rows of the table of conditions: read, and written as Markdown and CSV."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from experiment_table import read_yaml
from report import P_TARGETS
from whole_files import replacing

from custom_modules.metrics import Comparison, Estimate

ROW_KEYS = {"label", "overrides"}
FIXED = {"output_folder", "trials", "scores", "extract_to"}


class Condition(NamedTuple):
    """A row of the file of conditions.

    Arguments
    ---------
    label : str
        Its name in the table.
    overrides : dict
        Of verify.yaml.

    Example
    -------
    >>> Condition("Noise at 10 dB", {"test_snr": 10}).name
    'noise_at_10_db'
    """

    label: str
    overrides: dict

    @property
    def name(self) -> str:
        """Of its folder."""
        return re.sub(r"\W+", "_", self.label.lower()).strip("_")


class Measured(NamedTuple):
    """A verified condition, compared with the first one.

    Arguments
    ---------
    condition : Condition
        The row.
    report : dict
        Of verify.py.
    eer, min_dcf : Comparison
        This condition is a, the first b.
    """

    condition: Condition
    report: dict
    eer: Comparison
    min_dcf: Comparison


def read_conditions(path: Path) -> tuple[str, list[Condition]]:
    """Read a file of conditions.

    Arguments
    ---------
    path : Path
        YAML: title, and rows of label and overrides.

    Returns
    -------
    title : str
        Of the table.
    conditions : list[Condition]
        Its rows.

    Raises
    ------
    ValueError
        Names the file, and the row that is malformed or stands there twice.

    Example
    -------
    >>> path = getfixture("tmp_path") / "conditions.yaml"
    >>> _ = path.write_text("title: Short\\nrows: [{label: As recorded}]")
    >>> title, conditions = read_conditions(path)
    >>> title, conditions[0].label, conditions[0].overrides
    ('Short', 'As recorded', {})
    """
    content = read_yaml(path)
    rows = content.get("rows")
    if set(content) != {"title", "rows"} or not isinstance(rows, list):
        raise ValueError(
            f"{path}: write a title, and rows as a list of label and "
            f"overrides; it has {', '.join(map(str, content)) or 'nothing'}"
        )
    conditions = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        if not isinstance(row, dict) or not row.get("label"):
            raise ValueError(f"{where} has no label")
        if set(row) - ROW_KEYS:
            raise ValueError(
                f"{where}: {', '.join(sorted(set(row) - ROW_KEYS))} is "
                "unknown; there are label and overrides"
            )
        overrides = row.get("overrides") or {}
        if not isinstance(overrides, dict) or FIXED & set(overrides):
            raise ValueError(
                f"{where}: overrides must be keys of verify.yaml and their "
                f"values, without {', '.join(sorted(FIXED))}: each row gets a "
                "folder of its own, and all are of the same trials"
            )
        conditions.append(Condition(str(row["label"]), overrides))
    names = [condition.name for condition in conditions]
    for condition in conditions:
        if not condition.name or names.count(condition.name) > 1:
            raise ValueError(
                f"{path}: {condition.label!r} names no folder of its own; "
                "give each row another label, with letters or digits"
            )
    if not conditions:
        raise ValueError(f"{path}: there are no rows")
    return str(content["title"]), conditions


def make_markdown(title: str, rows: list[Measured], left_out: list[str]) -> str:
    """The table for people.

    Arguments
    ---------
    title : str
        Of the table.
    rows : list[Measured]
        Its rows.
    left_out : list[str]
        Labels of rows for which there was no noise.

    Returns
    -------
    table : str
        In Markdown.
    """
    first = rows[0]
    lines = [
        f"# {title}",
        "",
        "In brackets 95 % over speakers; the changes are from "
        f"{first.condition.label!r}, on the same resamples.",
        "",
        f"| condition | EER, % | minDCF({P_TARGETS[0]}) | change of EER, "
        "points | p | change of minDCF | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.condition.label,
            _interval(row.eer.a, 100, 2),
            _interval(row.min_dcf.a, 1, 3),
        ]
        for comparison, scale, digits in (
            (row.eer, 100, 2),
            (row.min_dcf, 1, 3),
        ):
            cells += [
                _interval(comparison.difference, scale, digits, "+"),
                f"{comparison.p_value:.2g}",
            ]
        if row is first:
            cells[3:] = [""] * 4
        lines.append(f"| {' | '.join(cells)} |")
    report = first.report
    if left_out:
        lines += [
            "",
            f"Left out for want of --test_noise_folder: {', '.join(left_out)}.",
        ]
    training = report.get("training", {})
    lines += [
        "",
        f"{report['num_trials']} trials ({report['num_target_trials']} target) "
        f"of {report['num_speakers']} speakers, {report['trials']}; model "
        f"{report['model']}, trained with seed {training.get('seed')} at "
        f"commit {training.get('commit')}; {report['scoring']}, normalisation "
        f"{report['score_normalisation']}; {report['num_resamples']} "
        f"resamples, seed {report['seed']}; {report['machine']}; commit "
        f"{report['commit']}.",
        "",
    ]
    return "\n".join(lines)


def write_csv(path: Path, rows: list[Measured]) -> None:
    """Write a line for each condition."""
    lines = []
    for row in rows:
        line = {
            "condition": row.condition.label,
            "done": row.report["condition"],
            "folder": row.condition.name,
        }
        for name, comparison, scale in (
            ("eer_percent", row.eer, 100),
            ("min_dcf_0.01", row.min_dcf, 1),
        ):
            for part, estimate in (
                (name, comparison.a),
                (f"{name}_change", comparison.difference),
            ):
                value, low, high = (round(scale * x, 4) for x in estimate)
                line |= {part: value, f"{part}_low": low, f"{part}_high": high}
            line[f"{name}_p"] = round(comparison.p_value, 4)
        lines.append(line | {"commit": row.report["commit"]})
    with (
        replacing(path) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _interval(
    estimate: Estimate, scale: float, digits: int, sign: str = ""
) -> str:
    value, low, high = (f"{scale * x:{sign}.{digits}f}" for x in estimate)
    return f"{value} ({low} to {high})"
