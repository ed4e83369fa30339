"""The README of an output folder explains all that is there."""

import re


def explained(text):
    """Names of the table, as patterns; "…" stands for anything."""
    names = re.findall(r"`([^`]+)`", re.sub(r"^\|([^|]+)\|.*", r"\1", text))
    return [re.escape(name).replace("…", ".*") for name in names]


def test_every_file_of_a_training_and_its_verification_is_explained(
    trained, verified
):
    text = (trained / "README.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    patterns = [pattern for row in rows for pattern in explained(row)]
    folders = [pattern for pattern in patterns if pattern.endswith("/")]
    assert len(patterns) > len(folders) > 4
    for path in trained.rglob("*"):
        name = f"{path.relative_to(trained)}{'/' * path.is_dir()}"
        if re.match(r"(model|verification|save/CKPT[^/]*)/.", name):
            continue  # told as a whole
        assert any(re.fullmatch(p, name) for p in patterns), name
    # The other way round, for what every training has.
    for name in ("save/", "model/", "train_log.txt", "hyperparams.yaml"):
        assert f"`{name}`" in text
    for name in ("report.json", "scores.txt"):
        assert (verified / name).exists()
        assert f"`{name}`" in text


def test_its_commands_name_files_that_exist(trained):
    text = (trained / "README.md").read_text("utf-8")
    commands = re.findall(r"python (\w+\.py)\s+(\S+\.yaml)", text)
    assert ("verify.py", "hparams/verify.yaml") in commands
    assert ("average_checkpoints.py", "hparams/average.yaml") in commands
