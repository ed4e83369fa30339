"""Every command explains itself, with one example that would be understood."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "VoxCeleb1"
MAIN = '__name__ == "__main__"'


def module_name(path):
    return f"benchmarks.{path.stem}" if "benchmarks" in str(path) else path.stem


COMMANDS = [
    module_name(path)
    for folder in (RECIPE, ROOT / "benchmarks")
    for path in sorted(folder.glob("*.py"))
    if MAIN in path.read_text()
]


def shown_by(name, capsys, *words):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(name).main([*words, "--help"])
    assert not end.value.code
    return capsys.readouterr().out


class UnderstoodError(Exception):
    """All words of a command line have a meaning."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_short_and_has_an_example_that_parses(
    name, capsys, monkeypatch
):
    """Of the command itself; run until its arguments are read."""
    monkeypatch.chdir(RECIPE)
    text = shown_by(name, capsys)
    assert len(text) < 4000
    # Of a paragraph, the rest of it.
    (rest,) = re.findall(r"Example:\s(.*?)(?:\n\s*\n|$)", text, re.S)
    python, script, *arguments = shlex.split(rest)
    assert python == "python"
    expected = f"{name}.py"
    if script == "-m":
        expected, (script, *arguments) = name, arguments
    assert script == expected.removesuffix(".__main__")

    parse = argparse.ArgumentParser.parse_known_args

    def stop(self, args=None, namespace=None):
        _, rest = parse(self, args, namespace)
        assert all(re.match(r"--\w+=.", word) for word in rest)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    with pytest.raises(UnderstoodError):
        importlib.import_module(name).main(arguments)
    for word in arguments:
        if word.endswith(".yaml"):
            assert (RECIPE / word).is_file()


@pytest.mark.parametrize("name", ["verify", "train_speaker_embeddings"])
def test_the_keys_of_the_yaml_file_are_told_with_their_comments(name, capsys):
    file = "verify.yaml" if name == "verify" else "mfcon.yaml"
    text = shown_by(name, capsys, str(ROOT / "hparams" / file))
    assert "  --data_folder=data/VoxCeleb1\n" in text
    assert "--seed=1986" in text
    assert "!new:" not in text
    assert "usage: " in text
    if name != "verify":
        assert "  --num_checkpoints=2  # kept: the last, and the best" in text
        assert "  --pooling=!ref <poolings[attentive_statistics]>" in text


def test_the_options_of_speechbrain_have_their_own_help(capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module("verify").main(["--help_speechbrain"])
    assert not end.value.code
    assert "--precision" in capsys.readouterr().out
