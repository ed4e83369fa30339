#!/usr/bin/env python3
"""Verify the same trials under several conditions: how does a model fall off?

usage: python conditions.py hparams/verify.yaml [--key=value …] \
    [--test_noise_folder=FOLDER] [--conditions=experiments/conditions.yaml]

Every row of the file of conditions overrides verify.yaml. Each gets a folder
with report.json and scores.txt below output_folder, where conditions.md and
conditions.csv put them side by side, with the difference from the first row.
Example: python conditions.py hparams/verify.yaml --test_noise_folder=data/musan
"""

import sys
from functools import partial
from pathlib import Path

from augmentation_files import make_degradation
from command import load_experiment, run
from condition_table import (
    Condition,
    Measured,
    make_markdown,
    read_conditions,
    write_csv,
)
from cpu_memory import keep_freed_memory
from experiment_table import words
from extraction import load_model
from report import P_TARGETS
from scored_reports import read_json
from verify import KEYS
from verify import main as verify
from whole_files import replacing

from custom_modules.metrics import (
    compare_systems,
    equal_error_rate,
    min_dcf,
)
from custom_modules.scoring import read_scores, speaker_id

CONDITIONS = Path(__file__).parent / "experiments" / "conditions.yaml"


def main(argv: list[str]) -> None:
    """Check every row, verify each, put them into one table."""
    option = "--conditions="
    paths = [x.removeprefix(option) for x in argv if x.startswith(option)]
    path = Path(paths[-1]) if paths else CONDITIONS
    typed = [x for x in argv if not x.startswith(option)]
    hparams = load_experiment(typed, KEYS, __doc__).hparams
    title, conditions = read_conditions(path)
    chosen, left_out = choose_conditions(conditions, hparams)
    folder = Path(hparams["output_folder"])
    commands = [row_arguments(condition, typed, folder) for condition in chosen]
    check_rows(chosen, commands, hparams, path)
    keep_freed_memory()  # halves the time of the bootstrap
    for condition, arguments in zip(chosen, commands, strict=True):
        sys.stdout.write(f"{condition.label}:\n")
        verify(arguments)
    rows = measure(chosen, folder, hparams)
    write_csv(folder / "conditions.csv", rows)
    table = make_markdown(title, rows, left_out)
    with replacing(folder / "conditions.md") as partial_file:
        partial_file.write_text(table, "utf-8")
    sys.stdout.write(table)
    sys.stdout.write(f"conditions.md, conditions.csv: {folder.resolve()}\n")


def choose_conditions(
    conditions: list[Condition], hparams: dict
) -> tuple[list[Condition], list[str]]:
    """Rows to verify, and labels of those for which there is no noise.

    Example
    -------
    >>> rows = [Condition("Clean", {}), Condition("Noisy", {"test_snr": 0})]
    >>> choose_conditions(rows, {"test_noise_folder": None})[1]
    ['Noisy']
    """
    chosen = [
        condition
        for condition in conditions
        if "test_snr" not in condition.overrides
        or {**hparams, **condition.overrides}["test_noise_folder"] is not None
    ]
    left_out = [x.label for x in conditions if x not in chosen]
    return chosen, left_out


def row_arguments(
    condition: Condition, typed: list[str], folder: Path
) -> list[str]:
    """The words that verify.py gets for a row.

    Example
    -------
    >>> row = Condition("First 2 s", {"max_seconds": 2})
    >>> typed = ["verify.yaml", "--test_noise_folder=noise"]
    >>> row_arguments(row, typed, Path("runs"))
    ['verify.yaml', '--output_folder=runs/first_2_s', '--max_seconds=2']
    """
    overrides = {"output_folder": str(folder / condition.name)}
    overrides |= condition.overrides
    keys = set(overrides)
    if "test_snr" not in overrides:  # what is typed is for the noisy rows
        keys |= {"test_noise_folder"}
    kept = [
        word
        for word in typed
        if word.removeprefix("--").partition("=")[0] not in keys
    ]
    return [*kept, *words(overrides)]


def check_rows(
    conditions: list[Condition],
    commands: list[list[str]],
    hparams: dict,
    path: Path,
) -> None:
    """Load every row as verify.py will, and look for its noise.

    Arguments
    ---------
    conditions : list[Condition]
        Its rows.
    commands : list[list[str]]
        What verify.py gets for each.
    hparams : dict
        Of verify.yaml, without a row's overrides.
    path : Path
        The file of conditions.

    Raises
    ------
    ValueError
        Names the file and the row that cannot be verified.
    """
    for key in ("scores", "extract_to"):
        if hparams[key] is not None:
            raise ValueError(f"--{key} is for verify.py, not for a table")
    model, _ = load_model(hparams["model_folder"], hparams["model_yaml"])
    for condition, arguments in zip(conditions, commands, strict=True):
        try:
            loaded = load_experiment(arguments, KEYS).hparams
            make_degradation(loaded, model.hparams.sample_rate)
        except ValueError as error:
            raise ValueError(
                f"{path}: row {condition.label!r}: {error}"
            ) from error


def measure(
    conditions: list[Condition], folder: Path, hparams: dict
) -> list[Measured]:
    """Compare every row with the first, on the trials of both.

    Arguments
    ---------
    conditions : list[Condition]
        That were verified.
    folder : Path
        With a folder of each.
    hparams : dict
        num_resamples and seed.

    Returns
    -------
    rows : list[Measured]
        In their order.
    """
    cost = partial(min_dcf, p_target=P_TARGETS[0])
    rows, first_scores, first_digest = [], None, None
    for condition in conditions:
        trials, scores = read_scores(folder / condition.name / "scores.txt")
        report = read_json(folder / condition.name / "report.json", "verify.py")
        if first_scores is None:
            first_scores, first_digest = scores, report["trials_sha256"]
        if report["trials_sha256"] != first_digest:
            raise ValueError(
                f"row {condition.label!r} is of other trials than the first: "
                "leave trials out of its overrides, and type it for all"
            )
        sides = [
            [speaker_id(name) for name in side]
            for side in (trials.enrol, trials.test)
        ]
        eer, min_cost = (
            compare_systems(
                *(scores, first_scores, trials.is_target, *sides, metric),
                *(hparams["num_resamples"], hparams["seed"]),
            )
            for metric in (equal_error_rate, cost)
        )
        rows.append(Measured(condition, report, eer, min_cost))
    return rows


if __name__ == "__main__":
    run(main)
