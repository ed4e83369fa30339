"""What `reproduce.py` is asked for, checked before anything is trained."""

import argparse
import hashlib
import tempfile
from pathlib import Path

import ivector_plda
import train_speaker_embeddings
import verify
import yaml
from command import TaglessLoader, load_experiment
from experiment_run import Run, run_folder
from experiment_table import (
    TRAINING,
    Row,
    Table,
    check_labels,
    read_table,
    read_yaml,
    sweep,
    words,
)
from speechbrain.utils.run_opts import RunOptions
from table_report import read_report
from voxceleb1_layout import find_trials

SCRIPTS = {
    TRAINING: train_speaker_embeddings.KEYS,
    "ivector_plda.py": ivector_plda.KEYS,
}
# reproduce.py sets them for every run.
OWN_KEYS = {"output_folder", "model_folder", "save_folder", "seed"}


class Settings(argparse.Namespace):
    """Arguments of the command line; see `parse`."""

    table: str
    output_folder: str
    seeds: str | None
    rows: str | None
    sweep: str | None
    scale: str | None
    test_folder: str | None
    num_gpus: int
    overrides: dict
    options: list[str]


def parse(argv: list[str]) -> Settings:
    """Tell this command's options from overrides and SpeechBrain's options."""
    parser = argparse.ArgumentParser(
        prog="reproduce.py",
        allow_abbrev=False,
        description="Train and verify every row of a table.",
    )
    add = parser.add_argument
    add("table", help="YAML file of experiments/")
    add(
        "--output_folder",
        default="runs/tables",
        help="of all runs and tables; tables share the runs they have in "
        "common (default: %(default)s)",
    )
    add("--seeds", help="of every row, as 1986,1987 (default: the table's)")
    add("--rows", help="labels of some rows, separated by ';'")
    add("--sweep", help="one row per combination: '{margin: [0.1, 0.2]}'")
    add("--scale", help="YAML file with overrides for each YAML file")
    add("--test_folder", help="verify on this corpus, not on data_folder")
    add("--num_gpus", type=int, default=1, help="more than one: torchrun")
    settings, rest = parser.parse_known_args(argv, namespace=Settings())
    run_options = RunOptions().as_dict()
    settings.overrides, settings.options = {}, []
    for word in rest:
        key, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise ValueError(f"{word!r}: write overrides as --key=value")
        if key in OWN_KEYS:
            raise ValueError(
                f"--{key}: every run gets its own; give --seeds or "
                "--output_folder of all runs"
            )
        if key in run_options:
            settings.options.append(word)
        elif has_value:
            settings.overrides[key] = yaml.load(value, Loader=TaglessLoader)
        else:
            raise ValueError(f"{word}: write overrides as --key=value")
    return settings


class Plan:
    """What every row is to run, checked before anything runs.

    Arguments
    ---------
    settings : Settings
        Of the command line.

    Raises
    ------
    ValueError
        Names row and key: an override that no YAML file has, one that cannot
        be loaded, an unknown label, a report of another trial list.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        table = read_table(settings.table)
        if settings.sweep:
            table = table._replace(rows=_swept(table, settings.sweep))
        self.table = table._replace(
            rows=_chosen(table, settings.rows),
            seeds=_seeds(settings.seeds) or table.seeds,
        )
        self.scale = read_yaml(settings.scale) if settings.scale else {}
        self.common = {**table.overrides, **settings.overrides}
        self.verification_keys: set[str] = set()
        self.keys = {}
        for row in self.table.rows:
            if row.report is None:
                self._read_keys(row)
        known = set().union(self.verification_keys, *self.keys.values())
        unknown = sorted(set(self.common) - known)
        if unknown and self.keys:
            raise ValueError(
                f"{settings.table}: no row has the key {unknown[0]!r}: not "
                f"in {', '.join(self.keys)} nor in verify.yaml"
            )
        self._check()

    def _read_keys(self, row: Row) -> None:
        where = f"{self.settings.table}: row {row.label!r}"
        if row.script not in SCRIPTS:
            raise ValueError(
                f"{where}: script {row.script!r} is unknown; there are "
                f"{', '.join(SCRIPTS)}"
            )
        if row.hparams not in self.keys:
            try:
                self.keys[row.hparams] = set(read_yaml(row.hparams))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        verification = Path(row.hparams).with_name("verify.yaml")
        self.verification_keys |= set(read_yaml(verification))

    def run(self, row: Row, candidate: dict, seed: int) -> Run:
        """What trains and verifies a candidate of a row."""
        settings, keys = self.settings, self.keys[row.hparams]
        overrides = {k: v for k, v in self.common.items() if k in keys}
        overrides |= self.scale.get(Path(row.hparams).name, {})
        # What is typed counts more than the scale, a row's own most.
        overrides |= {k: v for k, v in settings.overrides.items() if k in keys}
        overrides |= {**candidate, "seed": seed}
        verification, name = None, "verification"
        if row.script == TRAINING:
            verification = self._verification()
            if settings.test_folder:
                name += f"_{Path(settings.test_folder).name}"
        folder = run_folder(
            Path(settings.output_folder), row.script, row.hparams, overrides
        )
        return Run(
            folder,
            row.script,
            row.hparams,
            overrides,
            settings.options,
            verification,
            name,
        )

    def _verification(self) -> dict:
        """Overrides of verify.yaml, the same for every row."""
        overrides = {
            k: v for k, v in self.common.items() if k in self.verification_keys
        }
        if self.settings.test_folder:
            overrides["data_folder"] = self.settings.test_folder
            overrides.pop("trials", None)  # those of the training's corpus
        return overrides

    def _check(self) -> None:
        """Load every configuration once, as its command will."""
        trained = [row for row in self.table.rows if row.report is None]
        with tempfile.TemporaryDirectory() as folder:
            place = f"--output_folder={folder}/output"
            for row in trained:
                where = f"{self.settings.table}: row {row.label!r}"
                for candidate in row.candidates:
                    self._check_keys(row, candidate, where)
                    argv = [row.hparams, *self.settings.options, place]
                    try:
                        argv += words(self.run(row, candidate, 1986).overrides)
                        experiment = load_experiment(argv, SCRIPTS[row.script])
                    except ValueError as error:
                        raise ValueError(f"{where}: {error}") from error
                    if (
                        row.candidates[1:]
                        and not experiment.hparams["num_dev_speakers"]
                    ):
                        raise ValueError(
                            f"{where}: tune chooses on development speakers: "
                            "set num_dev_speakers to 2 at least"
                        )
            trial_list = None
            if trained:
                hparams = Path(trained[0].hparams).with_name("verify.yaml")
                argv = [str(hparams), place, *words(self._verification())]
                hparams = load_experiment(argv, verify.KEYS).hparams
                trial_list = (hparams["data_folder"], hparams["trials"])
        self._check_reports(trial_list)

    def _check_keys(self, row: Row, candidate: dict, where: str) -> None:
        scale = self.scale.get(Path(row.hparams).name, {})
        unknown = sorted({*candidate, *scale} - self.keys[row.hparams])
        if unknown:
            raise ValueError(
                f"{where}: {row.hparams} has no key {unknown[0]!r} to override"
            )

    def _check_reports(self, ours: tuple[str, str | None] | None) -> None:
        """Reports of other trials do not belong beside ours."""
        rows = [row for row in self.table.rows if row.report is not None]
        reports = {row.label: read_report(row.report) for row in rows}
        lists = {
            f"row {label!r}": report["trials_sha256"]
            for label, report in reports.items()
        }
        if reports and ours:
            data_folder, trials = ours
            folder = Path(self.settings.output_folder)
            trial_list = find_trials(data_folder, folder, trials)
            digest = hashlib.sha256(trial_list.read_bytes()).hexdigest()
            lists[f"the other rows ({trial_list})"] = digest
        if len(set(lists.values())) > 1:
            found = ", ".join(f"{k}: {v[:12]}" for k, v in lists.items())
            raise ValueError(
                f"{self.settings.table}: different trial lists do not belong "
                f"in one table (sha256 of {found}); verify all on one of them"
            )


def _swept(table: Table, text: str) -> list[Row]:
    values = yaml.load(text, Loader=TaglessLoader)
    if not isinstance(values, dict):
        raise ValueError(
            f"--sweep={text}: write keys and lists, as '{{margin: [0.1, 0.2]}}'"
        )
    hparams = table.rows[0].hparams
    rows = [*table.rows, *sweep(values, hparams)]
    check_labels(rows, f"--sweep={text}")
    return rows


def _chosen(table: Table, labels: str | None) -> list[Row]:
    if labels is None:
        return table.rows
    wanted = [label.strip() for label in labels.split(";")]
    known = [row.label for row in table.rows]
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ValueError(
            f"--rows: there is no row {unknown[0]!r}; there are "
            f"{'; '.join(known)}"
        )
    return [row for row in table.rows if row.label in wanted]


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--seeds={text}: whole numbers, separated by commas"
        ) from error
