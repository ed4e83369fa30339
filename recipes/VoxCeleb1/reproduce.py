#!/usr/bin/env python3
"""Train and verify every row of a table.

usage: python reproduce.py experiments/mfcon_table5.yaml --data_folder=… \
    [--key=value …]

Overrides go to training and to verification, wherever the YAML file has the
key. Typed again, the command skips what is finished, goes on with what was
interrupted and tries failed rows again.
"""

import logging
import shutil
import sys
import time
from pathlib import Path

from command import run
from experiment_plan import Plan, parse
from experiment_run import execute, is_finished
from experiment_table import Row, words
from table_report import (
    Result,
    check_trials,
    markdown,
    read_report,
    write_csv,
)
from whole_files import replacing


class Progress:
    """Which run of how many, and the time left.

    Arguments
    ---------
    num_runs : int
        To do at most.
    """

    def __init__(self, num_runs: int):
        self.num_runs = num_runs
        self.num_done = 0
        self.minutes: list[float] = []

    def start(self, label: str, seed: int, state: str) -> None:
        """Say what comes now."""
        left = ""
        if self.minutes:
            mean = sum(self.minutes) / len(self.minutes)
            left = f", about {mean * (self.num_runs - self.num_done):.0f} min"
            left += " left"
        self.num_done += 1
        sys.stdout.write(
            f"[{self.num_done}/{self.num_runs}{left}] {label}, seed {seed}: "
            f"{state}\n"
        )
        sys.stdout.flush()


def run_row(plan: Plan, row: Row, progress: Progress) -> Result:
    """Run a row's candidates with the first seed, the best with the others.

    A failure ends the row, not the table.
    """
    if row.report is not None:
        report = read_report(row.report)
        seed = report.get("training", {}).get("seed", report.get("seed"))
        return Result(row, {}, {seed: report}, {seed: row.report}, "", "")
    seeds, reports, folders = plan.table.seeds, {}, {}
    best, note = row.candidates[0], ""
    try:
        scores = []
        for candidate in row.candidates:
            report, folder = _run(plan, row, candidate, seeds[0], progress)
            scores.append(report["training"]["dev_eer"])
            if not scores[1:] or scores[-1] < min(scores[:-1]):
                best = candidate
                reports, folders = {seeds[0]: report}, {seeds[0]: folder}
        if len(row.candidates) > 1:
            tried = "; ".join(
                f"{' '.join(words(candidate))} {100 * score:.2f} %"
                for candidate, score in zip(row.candidates, scores, strict=True)
            )
            note = f"chosen by the development EER (seed {seeds[0]}): {tried}"
        for seed in seeds[1:]:
            reports[seed], folders[seed] = _run(plan, row, best, seed, progress)
    except ValueError as error:
        sys.stdout.write(f"    FAILED: {error}\n")
        return Result(row, best, reports, folders, str(error), note)
    return Result(row, best, reports, folders, "", note)


def _run(
    plan: Plan, row: Row, candidate: dict, seed: int, progress: Progress
) -> tuple[dict, str]:
    todo = plan.run(row, candidate, seed)
    tried = f" ({' '.join(words(candidate))})" if row.candidates[1:] else ""
    if is_finished(todo):
        progress.start(row.label + tried, seed, "finished before")
    else:
        progress.start(row.label + tried, seed, str(todo.folder))
        minutes = execute(todo, plan.settings.num_gpus)
        progress.minutes.append(minutes)
    report = read_report(todo.report)
    sys.stdout.write(f"    EER {report['eer_percent']:.2f} %\n")
    return report, todo.folder.name


def write_table(plan: Plan, results: list[Result]) -> Path:
    """Write table.csv, table.md and the reports to the table's folder."""
    settings = plan.settings
    name = plan.table.name
    if settings.test_folder:
        name += f"_on_{Path(settings.test_folder).name}"
    folder = Path(settings.output_folder) / name
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    typed = " ".join(words(plan.common))
    if settings.scale:
        typed += f" --scale={settings.scale}"
    if settings.test_folder:
        typed += f" --test_folder={settings.test_folder}"
    text = markdown(plan.table, results, f"`{typed}`" if typed else "")
    write_csv(folder / "table.csv", plan.table, results)
    with replacing(folder / "table.md") as partial:
        partial.write_text(text, "utf-8")
    for result in results:
        if result.row.report is None:
            for seed in result.reports:
                todo = plan.run(result.row, result.overrides, seed)
                shutil.copy(
                    todo.report, folder / "reports" / f"{todo.folder.name}.json"
                )
    return folder


def main(argv: list[str]) -> None:
    """Check all rows, run them, write the table after each."""
    settings = parse(argv)
    logging.getLogger("speechbrain.utils.seed").setLevel(logging.WARNING)
    plan = Plan(settings)
    table = plan.table
    runs = [
        len(row.candidates) + len(table.seeds) - 1 if row.report is None else 0
        for row in table.rows
    ]
    progress = Progress(sum(runs))
    sys.stdout.write(f"{table.title}: {len(table.rows)} rows\n")
    started = time.monotonic()
    results = []
    for row in table.rows:
        results.append(run_row(plan, row, progress))
        progress.num_done = sum(runs[: len(results)])  # a failed row's too
        check_trials(results)
        rest = table.rows[len(results) :]
        pending = [Result(r, {}, {}, {}, "", "") for r in rest]
        folder = write_table(plan, [*results, *pending])
    sys.stdout.write((folder / "table.md").read_text("utf-8"))
    minutes = (time.monotonic() - started) / 60
    sys.stdout.write(f"{minutes:.1f} minutes; all in {folder.absolute()}\n")
    failed = [result.row.label for result in results if result.error]
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(results)} rows failed: "
            f"{'; '.join(failed)}. The others are in the table; the same "
            "command tries these again"
        )


if __name__ == "__main__":
    run(main)
