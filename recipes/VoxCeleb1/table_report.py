"""A table's results as CSV, one line for each run, and as Markdown."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from experiment_table import Row, Table, words
from whole_files import replacing

COLUMNS = (
    "system",
    "EER, %",
    "95 % interval",
    "minDCF(0.01)",
    "EER in the paper, %",
    "minDCF in the paper",
    "seeds",
    "configuration",
)
NEEDED = (
    "eer_percent",
    "eer_interval_percent",
    "min_dcf_0.01",
    "min_dcf_0.001",
    "num_trials",
    "num_speakers",
    "num_speakers_trained_on",
    "trials",
    "trials_sha256",
    "machine",
    "commit",
)
UNKNOWN = "not known"
MISSING = "not run"


class Result(NamedTuple):
    """What became of a row.

    Arguments
    ---------
    row : Row
        Of the table.
    overrides : dict
        The chosen candidate's.
    reports : dict[int, dict]
        A report.json of each seed that was run.
    folders : dict[int, str]
        Of each of them, the folder's name.
    error : str
        Why a run failed; "" if none did.
    note : str
        On how the candidate was chosen.
    """

    row: Row
    overrides: dict
    reports: dict[int, dict]
    folders: dict[int, str]
    error: str
    note: str


def read_report(path: str | Path) -> dict:
    """Read a report.json of verify.py.

    Raises
    ------
    ValueError
        Names the file that is missing, damaged or no report.
    """
    path = Path(path)
    try:
        report = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path.absolute()}: there is no such report; verify.py writes it"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path.absolute()}: damaged ({error}); run verify.py again"
        ) from error
    missing = [key for key in NEEDED if key not in report]
    if missing:
        raise ValueError(
            f"{path.absolute()}: {missing[0]} is missing: not a report of "
            "verify.py"
        )
    return report


def mean_and_deviation(values: list[float], digits: int) -> str:
    """Mean ± sample deviation over seeds; of one seed, the value.

    Example
    -------
    >>> mean_and_deviation([4.0, 5.0], 2), mean_and_deviation([4.0], 2)
    ('4.50 ± 0.71', '4.00')
    """
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def write_csv(path: Path, results: list[Result]) -> None:
    """Write one line for each run."""
    fields = ["system", "seed", "eer_percent", "eer_low_percent"]
    fields += ["eer_high_percent", "min_dcf_0.01", "min_dcf_0.001"]
    fields += ["paper_eer_percent", "paper_min_dcf", "num_trials"]
    fields += ["trials_sha256", "num_speakers_trained_on"]
    fields += ["dev_eer_percent", "epoch", "minutes"]
    fields += ["hparams", "overrides", "commit", "machine", "run", "error"]
    with (
        replacing(path) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        for result in results:
            for seed, report in result.reports.items():
                low, high = report["eer_interval_percent"]
                training = report.get("training", {})
                dev_eer = training.get("dev_eer")
                writer.writerow(
                    {
                        "system": result.row.label,
                        "seed": seed,
                        "eer_percent": report["eer_percent"],
                        "eer_low_percent": low,
                        "eer_high_percent": high,
                        "min_dcf_0.01": report["min_dcf_0.01"],
                        "min_dcf_0.001": report["min_dcf_0.001"],
                        "paper_eer_percent": result.row.paper.get(
                            "eer_percent"
                        ),
                        "paper_min_dcf": result.row.paper.get("min_dcf"),
                        "num_trials": report["num_trials"],
                        "trials_sha256": report["trials_sha256"],
                        "num_speakers_trained_on": report[
                            "num_speakers_trained_on"
                        ],
                        "dev_eer_percent": ""
                        if dev_eer is None
                        else round(100 * dev_eer, 4),
                        "epoch": training.get("epoch"),
                        "minutes": training.get("minutes"),
                        "hparams": result.row.hparams,
                        "overrides": " ".join(words(result.overrides)),
                        "commit": report["commit"],
                        "machine": report["machine"],
                        "run": result.folders[seed],
                    }
                )
            if result.error or not result.reports:
                writer.writerow(
                    {
                        "system": result.row.label,
                        "hparams": result.row.hparams,
                        "error": result.error or MISSING,
                    }
                )


def markdown(table: Table, results: list[Result], settings: str) -> str:
    """The table for people, with the caption that makes it comparable.

    Arguments
    ---------
    table : Table
        What was asked for.
    results : list[Result]
        In the order of its rows.
    settings : str
        Of all rows, as typed.

    Returns
    -------
    text : str
        Markdown. EER and minDCF are mean ± sample deviation over seeds; the
        interval over speakers is the mean of the seeds' intervals.
    """
    lines = [f"# {table.title}", ""]
    if table.source:
        lines += [f"Paper: {table.source}. {table.claim}".strip(), ""]
    lines.append(f"| {' | '.join(COLUMNS)} |")
    lines.append(f"|{'---|' * len(COLUMNS)}")
    lines += [f"| {' | '.join(_cells(result))} |" for result in results]
    reports = [r for result in results for r in result.reports.values()]
    notes = [
        "EER and minDCF (normalised): mean ± sample deviation over the seeds. "
        "95 % interval of the EER: bootstrap over speakers, limits averaged "
        "over the seeds; it says nothing of other seeds."
    ]
    if reports:
        report = reports[0]
        notes.append(
            f"Trials: {report['trials']} (sha256 "
            f"{report['trials_sha256'][:12]}), {report['num_trials']}, of "
            f"{report['num_speakers']} speakers. Scores: cosines (PLDA "
            "where a row says so), not normalised."
        )
        notes.append(f"All rows: `{settings}`." if settings else "")
        parts = [*reports, *(r["training"] for r in reports if "training" in r)]
        notes += [
            f"{name}: {', '.join(sorted({str(p[key]) for p in parts}))}."
            for name, key in (("Machine", "machine"), ("Commit", "commit"))
        ]
    notes += [
        f"{result.row.label}: NOT A FAIR TEST, {num} of its speakers were "
        "trained on."
        for result in results
        for num in {
            r["num_speakers_trained_on"] for r in result.reports.values()
        }
        if num
    ]
    notes += [f"{r.row.label}: {r.note}." for r in results if r.note]
    notes += [f"{r.row.label} failed: {r.error}" for r in results if r.error]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes if note), ""])


def _cells(result: Result) -> list[str]:
    paper = result.row.paper
    published = [
        str(paper.get(key, UNKNOWN)) for key in ("eer_percent", "min_dcf")
    ]
    configuration = f"`{result.row.hparams or result.row.report}`"
    if result.overrides:
        configuration += f" `{' '.join(words(result.overrides))}`"
    if result.row.init_from:
        configuration += f", from “{result.row.init_from}”"
    reports = list(result.reports.values())
    measured = ["failed" if result.error else MISSING, "", ""]
    if reports:
        limits = [report["eer_interval_percent"] for report in reports]
        low, high = np.mean(limits, axis=0)
        measured = [
            mean_and_deviation([r["eer_percent"] for r in reports], 2),
            f"{low:.2f} to {high:.2f}",
            mean_and_deviation([r["min_dcf_0.01"] for r in reports], 3),
        ]
    return [
        result.row.label,
        *measured,
        *published,
        ", ".join(str(seed) for seed in result.reports),
        configuration.replace("|", "\\|"),
    ]
