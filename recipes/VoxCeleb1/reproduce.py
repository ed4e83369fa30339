#!/usr/bin/env python3
"""Train and verify every row of a table.

usage: python reproduce.py experiments/mfcon_table5.yaml --data_folder=… \
    [--key=value …]

Overrides go to training and to verification, wherever the YAML file has the
key. Typed again, the command skips what is finished, goes on with what was
interrupted and tries failed rows again.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from command import run
from experiment_arguments import parse
from experiment_plan import Plan
from experiment_run import Run, execute, is_finished
from experiment_table import Row, words
from report import write_json
from table_report import Result, markdown, read_report, write_csv
from whole_files import replacing


class UnfinishedError(Exception):
    """A run that is not there yet."""


class Runner:
    """Run what is not finished; say which run of how many, and the time left.

    Arguments
    ---------
    plan : Plan
        What is to run.
    num_runs : int
        Runs that are asked for.

    Attributes
    ----------
    num_done : int
        Runs of `num_runs` that were reached.
    num_left : int
        Runs that are not finished.
    """

    def __init__(self, plan: Plan, num_runs: int):
        self.plan = plan
        self.num_runs = num_runs
        self.num_done = self.num_left = 0
        self.minutes: list[float] = []

    def __call__(self, row: Row, candidate: dict, seed: int) -> Run:
        """Train and verify a candidate, if need be."""
        todo = self.plan.run(row, candidate, seed)
        tried = f" ({' '.join(words(candidate))})" if row.candidates[1:] else ""
        left = ""
        if self.minutes:
            mean = sum(self.minutes) / len(self.minutes)
            left = f", about {mean * self.num_left:.0f} min left"
        self.num_done += 1
        is_done = is_finished(todo)
        state = "finished before" if is_done else str(todo.folder)
        sys.stdout.write(
            f"[{self.num_done}/{self.num_runs}{left}] {row.label}{tried}, seed "
            f"{seed}: {state}\n"
        )
        sys.stdout.flush()
        if not is_done:
            self.num_left -= 1
            self.minutes.append(execute(todo, self.plan.settings.num_gpus))
        report = read_report(todo.report)
        if report["trials_sha256"] != todo.trials_sha256:
            raise ValueError(
                f"{todo.report.absolute()} is of another trial list than the "
                "one that was there at the start: run the command again"
            )
        sys.stdout.write(f"    EER {report['eer_percent']:.2f} %\n")
        return todo


def collect_row(
    plan: Plan, row: Row, get_run: Callable[[Row, dict, int], Run]
) -> Result:
    """Take a row's candidates with the first seed, the best with the others.

    Arguments
    ---------
    plan : Plan
        That the row is of.
    row : Row
        To collect.
    get_run : Callable
        (row, candidate, seed) → its run, finished. A ValueError of it is the
        row's error, and ends the row, not the table; UnfinishedError ends
        it without one.

    Returns
    -------
    result : Result
        With reports of the seeds that were reached; with none of them where
        not all candidates were.
    """
    if row.report is not None:
        report = read_report(row.report)
        seed = report.get("training", {}).get("seed", report.get("seed"))
        return Result(row, {}, {seed: report}, {seed: row.report}, "", "")
    first, *others = plan.table.seeds
    best, reports, folders, note, error = row.candidates[0], {}, {}, "", ""
    try:
        runs = [get_run(row, candidate, first) for candidate in row.candidates]
        if len(runs) > 1:
            errors = [
                read_report(one.report)["training"]["dev_eer"] for one in runs
            ]
            best = row.candidates[errors.index(min(errors))]
            tried = "; ".join(
                f"{' '.join(words(candidate))} {100 * dev_eer:.2f} %"
                for candidate, dev_eer in zip(
                    row.candidates, errors, strict=True
                )
            )
            note = f"chosen by the development EER (seed {first}): {tried}"
        for seed in (first, *others):
            one = (
                runs[row.candidates.index(best)]
                if seed == first
                else get_run(row, best, seed)
            )
            reports[seed] = read_report(one.report)
            folders[seed] = one.folder.name
    except UnfinishedError:
        pass
    except ValueError as failure:
        error = str(failure)
        sys.stdout.write(f"    FAILED: {error}\n")
    return Result(row, best, reports, folders, error, note)


def write_table(plan: Plan, results: list[Result]) -> Path:
    """Write table.csv, table.md and the reports to the table's folder."""
    folder = Path(plan.settings.output_folder) / plan.name
    reports = folder / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    wanted = {
        f"{result.folders[seed]}.json": report
        for result in results
        if result.row.report is None
        for seed, report in result.reports.items()
    }
    for name, report in wanted.items():
        write_json(reports / name, report)
    for path in reports.glob("*.json"):
        if path.name not in wanted:  # of a row that the table no longer has
            path.unlink()
    write_csv(folder / "table.csv", results)
    with replacing(folder / "table.md") as partial:
        partial.write_text(markdown(plan.table, results, plan.typed), "utf-8")
    return folder


def main(argv: list[str]) -> None:
    """Check all rows, run them, write the table after each."""
    logging.getLogger("speechbrain.utils.seed").setLevel(logging.WARNING)
    plan = Plan(parse(argv))
    table = plan.table
    chosen = [row for row in table.rows if row.label in plan.chosen]
    first, *others = table.seeds
    wanted = {
        row.label: [(candidate, first) for candidate in row.candidates]
        + [(row.candidates[0], seed) for seed in others]
        for row in chosen
        if row.report is None
    }
    runner = Runner(plan, sum(map(len, wanted.values())))

    def finished(row: Row, candidate: dict, seed: int) -> Run:
        todo = plan.run(row, candidate, seed)
        if not is_finished(todo):
            raise UnfinishedError
        return todo

    results = {
        row.label: collect_row(plan, row, finished) for row in table.rows
    }
    folder = write_table(plan, list(results.values()))
    sys.stdout.write(f"{table.title}: {len(chosen)} rows\n")
    for done, row in enumerate(chosen):
        # A row that failed leaves runs undone: count anew.
        rest = [one.label for one in chosen[done:]]
        num_rest = sum(len(wanted.get(label, [])) for label in rest)
        runner.num_done = runner.num_runs - num_rest
        runner.num_left = sum(
            not is_finished(plan.run(one, *choice))
            for one in chosen[done:]
            for choice in wanted.get(one.label, [])
        )
        results[row.label] = collect_row(plan, row, runner)
        write_table(plan, list(results.values()))
    sys.stdout.write((folder / "table.md").read_text("utf-8"))
    sys.stdout.write(f"All in {folder.absolute()}\n")
    failed = [result.row.label for result in results.values() if result.error]
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(chosen)} rows failed: "
            f"{'; '.join(failed)}. The others are in the table; the same "
            "command tries these again"
        )


if __name__ == "__main__":
    run(main)
