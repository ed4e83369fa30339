"""Files of `experiments/`: the rows of a paper's table, and their sweeps."""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

import yaml
from command import TaglessLoader

TABLE_KEYS = {"title", "source", "claim", "hparams", "overrides", "seeds"}
TABLE_KEYS |= {"rows", "sweep"}
ROW_KEYS = {"label", "script", "hparams", "overrides", "tune", "report"}
ROW_KEYS |= {"paper", "init_from"}
PAPER_KEYS = {"eer_percent", "min_dcf"}
# reproduce.py sets them for every run.
OWN_KEYS = {"output_folder", "model_folder", "save_folder", "seed"}
MAPPINGS = ("overrides", "tune", "paper", "sweep")
TRAINING = "train_speaker_embeddings.py"


class Row(NamedTuple):
    """One system of a table.

    Arguments
    ---------
    label : str
        Its name in the table.
    script : str
        The command that trains it.
    hparams : str
        Its YAML file.
    candidates : list[dict]
        Overrides; of several, that with the lowest development EER is
        reported.
    report : str | None
        A report.json to put beside the others, instead of training.
    paper : dict
        The paper's eer_percent and min_dcf, where they are known.
    init_from : str | None
        Label of an earlier row, whose training of the same seed this one
        starts from.
    """

    label: str
    script: str
    hparams: str
    candidates: list[dict]
    report: str | None
    paper: dict
    init_from: str | None = None


class Table(NamedTuple):
    """What a file of `experiments/` asks for.

    Arguments
    ---------
    name : str
        Of the file, without suffix.
    title, source, claim : str
        What it is, where the paper has it, what the paper claims.
    hparams : str | None
        The YAML file of rows that name none, and of sweeps.
    overrides : dict
        Of every row whose YAML file has the key.
    seeds : list[int]
        Of every row.
    rows : list[Row]
        In the table's order.
    """

    name: str
    title: str
    source: str
    claim: str
    hparams: str | None
    overrides: dict
    seeds: list[int]
    rows: list[Row]


def read_yaml(path: str | Path) -> dict:
    """Read a YAML file whose tags stay text.

    Raises
    ------
    ValueError
        Names the file that is missing, damaged or no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.absolute()}: there is no such YAML file")
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=TaglessLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: key: value lines are expected")
    return content


def combinations(values: dict[str, list]) -> list[dict]:
    """Every choice of one value for each key; of no keys, one: {}.

    Example
    -------
    >>> combinations({"margin": [0.1, 0.2], "scale": [30]})
    [{'margin': 0.1, 'scale': 30}, {'margin': 0.2, 'scale': 30}]
    """
    lists = [v if isinstance(v, list) else [v] for v in values.values()]
    return [
        dict(zip(values, choice, strict=True))
        for choice in itertools.product(*lists)
    ]


def check_overrides(overrides: dict, where: str | Path) -> None:
    """Refuse keys that `reproduce.py` sets itself, and empty lists to try."""
    for key, value in overrides.items():
        if key in OWN_KEYS:
            raise ValueError(
                f"{where}: {key} cannot be overridden, every run gets its own; "
                "give --seeds, or --output_folder of all runs"
            )
        if value == []:
            raise ValueError(f"{where}: {key} has no values to try")


def words(overrides: dict) -> list[str]:
    """Overrides as words of a command line.

    Example
    -------
    >>> words({"margin": 0.1, "blocks": None, "pooling": "!ref <poolings[x]>"})
    ['--margin=0.1', '--blocks=null', '--pooling=!ref <poolings[x]>']
    """
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in overrides.items()
    ]


def read_table(path: str | Path) -> Table:
    """Read a file of `experiments/`.

    Its keys: title; source and claim, of the paper; hparams, the YAML file;
    overrides, of all rows; seeds; rows; sweep, lists of values of which every
    combination is one more row. A row's: label; script, if it is not the
    training; hparams and overrides; tune, lists of values of which the best
    on the development trials is reported; init_from, the label of an earlier
    row to start from; paper, its eer_percent and min_dcf; report, to show a
    report.json instead of training.

    Arguments
    ---------
    path : str | Path
        The file.

    Returns
    -------
    table : Table
        With at least one row.

    Raises
    ------
    ValueError
        Names the file, the row and the key: unknown or missing keys, labels
        given twice, no rows.
    """
    path = Path(path)
    content = read_yaml(path)
    _check_keys(content, TABLE_KEYS, {"title"}, path)
    default = content.get("hparams")
    rows = []
    for number, given in enumerate(content.get("rows") or [], 1):
        if not isinstance(given, dict):
            raise ValueError(f"{path}: row {number} has no keys, as label")
        where = f"{path}: row {given.get('label', number)!r}"
        _check_keys(given, ROW_KEYS, {"label"}, where)
        _check_keys(given.get("paper") or {}, PAPER_KEYS, set(), where)
        trained = {"overrides", "tune", "hparams", "init_from"}
        if "report" in given and trained & set(given):
            raise ValueError(
                f"{where}: a row with a report is not trained, so it has "
                "neither hparams nor overrides nor tune nor init_from"
            )
        if "init_from" in given:
            _check_start(given["init_from"], rows, where)
        if "report" not in given and not given.get("hparams", default):
            raise ValueError(f"{where}: hparams is missing, the YAML file")
        overrides, tune = given.get("overrides") or {}, given.get("tune") or {}
        check_overrides({**overrides, **tune}, where)
        rows.append(
            Row(
                str(given["label"]),
                given.get("script", TRAINING),
                given.get("hparams", default),
                [{**overrides, **choice} for choice in combinations(tune)],
                given.get("report"),
                given.get("paper") or {},
                given.get("init_from"),
            )
        )
    if content.get("sweep"):
        rows += sweep(content["sweep"], default, path)
    check_labels(rows, path)
    check_overrides(content.get("overrides") or {}, path)
    return Table(
        path.stem,
        content["title"],
        content.get("source", ""),
        content.get("claim", ""),
        default,
        content.get("overrides") or {},
        content.get("seeds") or [1986],
        rows,
    )


def _check_start(label: str, earlier: list[Row], where: str) -> None:
    starts = [
        row.label
        for row in earlier
        if row.report is None and len(row.candidates) == 1
    ]
    if label not in starts:
        raise ValueError(
            f"{where}: init_from {label!r} is no earlier row that is trained, "
            f"without tune; there are {'; '.join(starts) or 'none'}"
        )


def sweep(
    values: dict[str, list], hparams: str | None, where: str | Path
) -> list[Row]:
    """Rows of every combination of values, labelled by them."""
    if not hparams:
        raise ValueError(f"{where}: sweep needs hparams, the YAML file")
    check_overrides(values, where)
    return [
        Row(
            ", ".join(f"{key} {value}" for key, value in choice.items()),
            TRAINING,
            hparams,
            [choice],
            None,
            {},
        )
        for choice in combinations(values)
    ]


def check_labels(rows: list[Row], path: str | Path) -> None:
    """Refuse a table without rows, and labels given twice."""
    if not rows:
        raise ValueError(f"{path}: there are no rows to train")
    labels = [row.label for row in rows]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(
            f"{path}: label {twice[0]!r} is given twice; rows are told apart "
            "by their labels"
        )


def _check_keys(
    given: dict, allowed: set[str], needed: set[str], where: str | Path
) -> None:
    unknown = sorted(set(given) - allowed)
    if unknown:
        raise ValueError(
            f"{where}: key {unknown[0]!r} is unknown; there are "
            f"{', '.join(sorted(allowed))}"
        )
    missing = sorted(needed - set(given))
    if missing:
        raise ValueError(f"{where}: key {missing[0]!r} is missing")
    for key in MAPPINGS:
        if not isinstance(given.get(key) or {}, dict):
            raise ValueError(f"{where}: {key} must be keys and their values")
    seeds = given.get("seeds", [0])
    if not (
        isinstance(seeds, list)
        and seeds
        and all(isinstance(seed, int) for seed in seeds)
        and len(set(seeds)) == len(seeds)
    ):
        raise ValueError(
            f"{where}: seeds ({seeds}) must be a list of different whole "
            "numbers, as [1986, 1987]"
        )
