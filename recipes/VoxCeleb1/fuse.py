#!/usr/bin/env python3
"""Fuse systems that were verified on the same trials.

usage: python fuse.py A B [C…] --output=FOLDER

A, B, … are folders of verify.py, each verified with a calibration, so that
development_scores.txt is beside scores.txt. One weight for each system is
learnt on the development trials, by logistic regression.
"""

import json
import os
from pathlib import Path

import numpy as np
from calibrating import describe_calibration, measure_llrs
from command import Parser, run
from compare import add_settings, match_trials
from evaluation import (
    DEVELOPMENT_SCORES,
    PAGE,
    remove_earlier,
    write_report,
)
from report import AS_RECORDED, make_report
from report_page import write_report_page

from custom_modules.calibration import LogisticCalibration
from custom_modules.scoring import Trials, read_scores, write_scores

FILES = ("report.json", "scores.txt", DEVELOPMENT_SCORES)
SETTINGS = {"p_target": float, "num_resamples": int, "seed": int}
# Of a report, what holds for every system of the same trials.
SHARED = ("trials", "trials_sha256", "machine", "num_utterances")
CONDITION = "condition"


def find_systems(folders: list[Path]) -> dict[str, Path]:
    """Folders by a short name each, all of them complete.

    Arguments
    ---------
    folders : list[Path]
        Of verify.py.

    Returns
    -------
    systems : dict[str, Path]
        Named by their paths from the folder that they share; "." is that.

    Raises
    ------
    ValueError
        Names the file that a folder lacks, or a folder given twice.
    """
    folders = [Path(os.path.abspath(folder)) for folder in folders]
    for folder in folders:
        for name in FILES:
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder / name} is missing: give folders of verify.py "
                    "with --calibration='!ref <logistic>'"
                )
    if len(set(folders)) < max(2, len(folders)):
        raise ValueError("give at least two folders, each once")
    shared = Path(os.path.commonpath(folders))
    return {folder.relative_to(shared).as_posix(): folder for folder in folders}


def stack_scores(paths: list[Path]) -> tuple[Trials, np.ndarray]:
    """Scores of the same trials, side by side.

    Arguments
    ---------
    paths : list[Path]
        Of score files.

    Returns
    -------
    trials : Trials
        In the order of the first file.
    columns : np.ndarray
        (trials, files).

    Raises
    ------
    ValueError
        Names the files whose trials differ.
    """
    first, *others = map(read_scores, paths)
    columns = [first[1]]
    for path, other in zip(paths[1:], others, strict=True):
        columns.append(match_trials(first, other, (paths[0], path)))
    return first[0], np.column_stack(columns)


def fuse(
    systems: dict[str, Path],
    output: Path,
    p_target: float,
    num_resamples: int,
    seed: int,
) -> None:
    """Learn the weights, score the test's trials, write a report.

    Arguments
    ---------
    systems : dict[str, Path]
        Of `find_systems`.
    output : Path
        Folder; made if missing.
    p_target : float
        Prior around which the fused scores are to be good.
    num_resamples, seed : int
        Of the report's intervals.
    """
    reports = [
        json.loads((folder / "report.json").read_text("utf-8"))
        for folder in systems.values()
    ]
    for name, report in zip(systems, reports, strict=True):
        if "calibration" not in report:
            raise ValueError(
                f"{systems[name] / 'report.json'} is of scores that were not "
                "calibrated: verify with --calibration='!ref <logistic>'"
            )
    conditions = {report.get(CONDITION) or AS_RECORDED for report in reports}
    if len(conditions) > 1:
        raise ValueError(
            f"the systems were verified under different conditions "
            f"({', '.join(sorted(conditions))}): fuse those of one"
        )
    if output.resolve() in [folder.resolve() for folder in systems.values()]:
        raise ValueError(
            f"--output={output} is one of the systems: give another folder"
        )
    tests, devs = (
        stack_scores([folder / name for folder in systems.values()])
        for name in FILES[1:]
    )
    calibration = LogisticCalibration(p_target)
    names = list(systems)
    calibration.fit(devs[1], devs[0].is_target, names)
    llrs, is_target = calibration(tests[1]), tests[0].is_target
    measured = {
        name: measure_llrs(column, is_target)
        for name, column in zip(names, tests[1].T, strict=True)
    }
    measured["fused"] = measure_llrs(llrs, is_target)
    dev_list = {key: reports[0]["calibration"][key] for key in SHARED[:2]}
    trained_on = [r["num_speakers_trained_on"] or 0 for r in reports]
    origin = {
        **{key: reports[0][key] for key in SHARED},
        CONDITION: conditions.pop(),
        "scoring": f"fusion of {', '.join(names)}",
        "score_normalisation": "as of the systems",
        "calibration": describe_calibration(
            calibration, names, dev_list, devs[0].is_target, measured
        ),
        "num_speakers_trained_on": max(trained_on),
        "model": [report["model"] for report in reports],
        "systems": [
            {k: report.get(k) for k in ("model_sha256", "eer_percent")}
            for report in reports
        ],
    }
    report = make_report(tests[0], llrs, num_resamples, seed, origin)
    remove_earlier(output)
    write_report(output, tests[0], llrs, report)
    write_report_page(output / PAGE, report, tests[0], llrs)
    write_scores(output / FILES[2], devs[0], calibration(devs[1]))


def main(argv: list[str]) -> None:
    """Fuse what the command line names."""
    parser = Parser(
        prog="fuse.py",
        description="Fuse systems that were verified on the same trials, by "
        "weights learnt on their development trials.",
        epilog="Example: python fuse.py runs/mfcon/1986/verification "
        "runs/mha/1986/verification --output=runs/fusion",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="of verify.py with --calibration='!ref <logistic>'",
    )
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    add_settings(parser, SETTINGS)
    args = parser.parse_args(argv)
    fuse(
        find_systems(args.folders),
        args.output,
        args.p_target,
        args.num_resamples,
        args.seed,
    )


if __name__ == "__main__":
    run(main)
