"""What was measured of a model folder after its training, in its card."""

import json
from pathlib import Path

from export import TESTS_FILE
from model_card import replace_block
from report import AS_RECORDED, write_json
from whole_files import replacing

from custom_modules.checksums import file_digest

CARD = "README.md"
DIGEST = "model_sha256"
# Of a report of verify.py: what tells one test from another, what it found.
TEST = ("trials", "trials_sha256", "scoring", "score_normalisation")
FOUND = (
    "num_trials",
    "num_target_trials",
    "num_speakers",
    "num_speakers_trained_on",
    "eer_percent",
    "eer_interval_percent",
    "min_dcf_0.01",
    "commit",
)
CONDITION = "condition"  # short, noisy, …; older reports have none
HEAD = (
    "| trials | number | speakers | scores | EER, % | minDCF(0.01) |\n"
    "|---|---|---|---|---|---|\n"
)


def digest_model(folder: Path) -> str:
    """SHA-256 of a model folder's embedding_model.ckpt."""
    return file_digest(folder / "embedding_model.ckpt")


def read_object(path: Path) -> dict:
    """Read a JSON file that holds keys and values.

    Raises
    ------
    ValueError
        Names a file that does not.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not keys and their values, but {content!r}")
    return content


def write_block(folder: Path, name: str, text: str) -> None:
    """Replace a block of a folder's card, as `replace_block` does.

    Raises
    ------
    ValueError
        Names the card that has no such block; it stays as it is.
    """
    path = folder / CARD
    try:
        card = replace_block(path.read_text("utf-8"), name, text)
    except ValueError as error:
        raise ValueError(f"{path.absolute()}: {error}") from error
    with replacing(path) as partial:
        partial.write_text(card, "utf-8")


def attach_report(folder: Path, path: Path) -> None:
    """Put a test of the model into its card, and into tests.json beside it.

    The same test, anew, takes the place of the one before.

    Arguments
    ---------
    folder : Path
        The model folder.
    path : Path
        report.json of verify.py, of this model.

    Raises
    ------
    ValueError
        Names a report that is no JSON, lacks something, or is of another
        model; nothing is written.
    """
    path = path.absolute()
    report = read_object(path)
    keys = (DIGEST, *TEST, *FOUND)
    missing = [key for key in keys if key not in report]
    if missing:
        raise ValueError(
            f"{path}: it has no {', '.join(missing)}: give a report.json that "
            "verify.py wrote; verify anew where it is older than that"
        )
    digest = digest_model(folder)
    if report[DIGEST] != digest:
        raise ValueError(
            f"{path}: of another model: its {DIGEST} is {report[DIGEST]}, that "
            f"of {(folder / 'embedding_model.ckpt').absolute()} {digest}: "
            "verify this one"
        )
    new = {key: report[key] for key in keys}
    new[CONDITION] = report.get(CONDITION) or AS_RECORDED
    tests = []
    if (folder / TESTS_FILE).exists():
        tests = read_object(folder / TESTS_FILE)["tests"]
    tests = [
        test
        for test in tests
        if any(test[key] != new[key] for key in (*TEST, CONDITION))
        and test[DIGEST] == digest
    ]
    tests.append(new)
    write_block(folder, "tests", tell_tests(tests))
    write_json(folder / TESTS_FILE, {"tests": tests})


def tell_tests(tests: list[dict]) -> str:
    """Tests of a model as a table of its card.

    Arguments
    ---------
    tests : list[dict]
        Of each what `attach_report` keeps.

    Returns
    -------
    text : str
        Markdown.

    Example
    -------
    >>> test = {"trials": "veri_test2.txt", "scoring": "cosine"}
    >>> test |= {"score_normalisation": "none", "num_trials": 37611}
    >>> test |= {"num_speakers": 40, "num_speakers_trained_on": 2}
    >>> test |= {"eer_percent": 2.5, "eer_interval_percent": [2.0, 3.0]}
    >>> test |= {"min_dcf_0.01": 0.25, "condition": "2 s"}
    >>> print(tell_tests([test]).splitlines()[4].replace(" | ", "\\n| "))
    | veri_test2.txt, 2 s (**NOT A FAIR TEST**: 2 speakers were trained on)
    | 37611
    | 40
    | cosine, normalisation none
    | 2.50 (2.00 to 3.00)
    | 0.250 |
    """
    rows = []
    for test in tests:
        low, high = test["eer_interval_percent"]
        name = test["trials"]
        if test[CONDITION] != AS_RECORDED:
            name += f", {test[CONDITION]}"
        if test["num_speakers_trained_on"]:
            name += (
                f" (**NOT A FAIR TEST**: {test['num_speakers_trained_on']} "
                "speakers were trained on)"
            )
        cells = [
            name,
            str(test["num_trials"]),
            str(test["num_speakers"]),
            f"{test['scoring']}, normalisation {test['score_normalisation']}",
            f"{test['eer_percent']:.2f} ({low:.2f} to {high:.2f})",
            f"{test['min_dcf_0.01']:.3f}",
        ]
        row = " | ".join(cell.replace("|", "/") for cell in cells)
        rows.append(f"| {row} |")
    return (
        "By `verify.py`; in brackets 95 % intervals over the speakers:\n\n"
        + HEAD
        + "\n".join(rows)
    )
