"""What `reproduce.py` is asked for, checked before anything is trained."""

import hashlib
import tempfile
from pathlib import Path

import average_checkpoints
import ivector_plda
import train_speaker_embeddings
import verify
import yaml
from command import TaglessLoader, load_experiment
from experiment_arguments import Settings
from experiment_run import Run, run_folder
from experiment_table import (
    TRAINING,
    Row,
    Table,
    check_labels,
    check_overrides,
    read_table,
    read_yaml,
    sweep,
    words,
)
from table_report import read_report
from voxceleb1_layout import find_trials

SCRIPTS = {
    TRAINING: train_speaker_embeddings.KEYS,
    "average_checkpoints.py": average_checkpoints.KEYS,
    "ivector_plda.py": ivector_plda.KEYS,
}
VERIFYING = {"ivector_plda.py"}  # scripts that report by themselves


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
        self.table = table._replace(seeds=settings.seeds or table.seeds)
        self.rows = {row.label: row for row in self.table.rows}
        self.chosen = _chosen(table, settings.rows)
        self.scale = {}
        if settings.scale_file:
            self.scale = _read_scale(settings.scale_file, table)
        self.common = {**table.overrides, **settings.overrides}
        self.verification_keys: set[str] = set()
        self.keys: dict[str, set[str]] = {}
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
        self.trials_sha256 = ""
        self._check()

    @property
    def name(self) -> str:
        """Of the table's folder: other scales and corpora get their own."""
        names = [self.table.name]
        if self.settings.scale_file:
            names.append(Path(self.settings.scale_file).stem)
        if self.settings.test_folder:
            names += ["on", Path(self.settings.test_folder).name]
        return "_".join(names)

    @property
    def typed(self) -> str:
        """What all rows have in common, as it would be typed."""
        settings = self.settings
        given = words(self.common) + settings.options
        if settings.scale_file:
            given.append(f"--scale_file={settings.scale_file}")
        if settings.test_folder:
            given.append(f"--test_folder={settings.test_folder}")
        return " ".join(given)

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
        overrides |= self.scale.get(Path(row.hparams).name) or {}
        # What is typed counts more than the scale, a row's own most.
        overrides |= {k: v for k, v in settings.overrides.items() if k in keys}
        overrides |= {**candidate, "seed": seed}
        if row.init_from is not None:
            start = self.rows[row.init_from]
            start = self.run(start, start.candidates[0], seed)
            overrides["init_from"] = str(start.folder)
        verification, name = None, "verification"
        if row.script not in VERIFYING:
            verification = self._verification()
            if settings.test_folder:
                name += f"_{Path(settings.test_folder).name}"
        folder = run_folder(
            Path(settings.output_folder),
            row.script,
            row.hparams,
            overrides,
            settings.options,
        )
        return Run(
            folder,
            row.script,
            row.hparams,
            overrides,
            settings.options,
            verification,
            name,
            self.trials_sha256,
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
                    try:
                        self._check_candidate(row, candidate, place)
                    except ValueError as error:
                        raise ValueError(f"{where}: {error}") from error
            if trained:
                hparams = Path(trained[0].hparams).with_name("verify.yaml")
                argv = [str(hparams), place, *words(self._verification())]
                hparams = load_experiment(argv, verify.KEYS).hparams
                trial_list = find_trials(
                    hparams["data_folder"],
                    self.settings.output_folder,
                    hparams["trials"],
                )
                self.trials_sha256 = hashlib.sha256(
                    trial_list.read_bytes()
                ).hexdigest()
        self._check_reports()

    def _check_candidate(self, row: Row, candidate: dict, place: str) -> None:
        if self.settings.test_folder and row.script in VERIFYING:
            raise ValueError(
                f"{row.script} verifies on its own data_folder; leave "
                "--test_folder out, or this row out of the table"
            )
        scale = self.scale.get(Path(row.hparams).name) or {}
        unknown = sorted({*candidate, *scale} - self.keys[row.hparams])
        if unknown:
            raise ValueError(
                f"{row.hparams} has no key {unknown[0]!r} to override"
            )
        argv = [row.hparams, *self.settings.options, place]
        argv += words(self.run(row, candidate, 1986).overrides)
        hparams = load_experiment(argv, SCRIPTS[row.script]).hparams
        if row.candidates[1:] and not hparams["num_dev_speakers"]:
            raise ValueError(
                "tune chooses on development speakers: set num_dev_speakers "
                "to 2 at least"
            )

    def _check_reports(self) -> None:
        """Reports of other trials do not belong beside ours."""
        lists = {
            f"row {row.label!r}": read_report(row.report)["trials_sha256"]
            for row in self.table.rows
            if row.report is not None
        }
        if self.trials_sha256:
            lists["the other rows"] = self.trials_sha256
        if len(set(lists.values())) > 1:
            found = ", ".join(f"{k}: {v[:12]}" for k, v in lists.items())
            raise ValueError(
                f"{self.settings.table}: different trial lists do not belong "
                f"in one table (sha256 of {found}); verify all on one of them"
            )


def _read_scale(path: str, table: Table) -> dict[str, dict | None]:
    """Overrides by the name of a YAML file, of those beside the rows'."""
    scale = read_yaml(path)
    folders = {Path(row.hparams).parent for row in table.rows if row.hparams}
    known = sorted({file.name for f in folders for file in f.glob("*.yaml")})
    for name, overrides in scale.items():
        if name not in known or name == "verify.yaml":
            raise ValueError(
                f"{path}: {name!r} is not the YAML file of a training; there "
                f"are {', '.join(known)}"
            )
        if not isinstance(overrides or {}, dict):
            raise ValueError(f"{path}: {name} must have keys and values")
        check_overrides(overrides or {}, f"{path}: {name}")
    return scale


def _swept(table: Table, text: str) -> list[Row]:
    values = yaml.load(text, Loader=TaglessLoader)
    where = f"--sweep={text}"
    if not isinstance(values, dict):
        raise ValueError(
            f"{where}: write keys and lists, as '{{margin: [0.1, 0.2]}}'"
        )
    rows = [*table.rows, *sweep(values, table.hparams, where)]
    check_labels(rows, where)
    return rows


def _chosen(table: Table, labels: str | None) -> set[str]:
    """Labels of the rows to run, with those that they start from."""
    known = {row.label: row for row in table.rows}
    if labels is None:
        return set(known)
    wanted = [label.strip() for label in labels.split(";")]
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ValueError(
            f"--rows: there is no row {unknown[0]!r}; there are "
            f"{'; '.join(known)}"
        )
    chosen: set[str] = set()
    while wanted:
        label = wanted.pop()
        chosen.add(label)
        if known[label].init_from is not None:
            wanted.append(known[label].init_from)
    return chosen
