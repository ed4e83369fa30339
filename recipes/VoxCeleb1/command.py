"""What the commands share: strict arguments, one-line errors."""

import argparse
import contextlib
import difflib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import speechbrain as sb
import yaml
from command_help import show_help
from faults import explain
from hyperpyyaml import load_hyperpyyaml
from interruption import Interrupted
from processes import MainProcessError
from speechbrain.utils.run_opts import RunOptions

logger = logging.getLogger(__name__)

USER_ERROR = 2  # exit status


class TaglessLoader(yaml.SafeLoader):
    """YAML whose HyperPyYAML tags stay text: `!ref <key>` as it is typed."""


TaglessLoader.add_multi_constructor(
    "!", lambda loader, tag, node: f"!{tag} {node.value}"
)


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are ours: one line."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str):
        """Raise what `run` shows."""
        raise ValueError(f"{message}; {' '.join(self.format_usage().split())}")


class Experiment(NamedTuple):
    """What a command line asks for.

    Arguments
    ---------
    hparams_file : str
        The YAML file.
    run_opts : RunOptions
        SpeechBrain's own options (device, precision, …).
    overrides : str
        The other options, as YAML.
    hparams : dict
        The YAML file, overridden and loaded.
    """

    hparams_file: str
    run_opts: RunOptions
    overrides: str
    hparams: dict


def load_experiment(
    argv: list[str], keys: Iterable[str], description: str = ""
) -> Experiment:
    """Parse a command line and load its YAML file, strictly.

    Arguments
    ---------
    argv : list[str]
        Arguments: YAML file, SpeechBrain's options, `--key=value` overrides.
    keys : Iterable[str]
        The keys that the command reads: all must be in the YAML file.
    description : str
        Of the command, for --help.

    Returns
    -------
    experiment : Experiment
        Ready to use.

    Raises
    ------
    ValueError
        Names the file and the key: no such file, a key that is missing or
        misspelt, an override of an unknown key or of a whole section.
    """
    show_help(argv, description)
    for word in argv:
        if word.startswith("--") and word.count("=") > 1:
            raise ValueError(
                f"{word!r}: SpeechBrain's command line cannot take a value "
                "with another '='; rename the folder, or write it into the "
                "YAML file"
            )
    hparams_file, run_opts, overrides = _parse_arguments(argv)
    if not Path(hparams_file).is_file():
        raise ValueError(
            f"{Path(hparams_file).absolute()}: there is no such YAML file"
        )
    try:
        text = Path(hparams_file).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{hparams_file}: not UTF-8 text ({error})") from error
    given = _parse(overrides or "{}", f"the overrides {overrides!r}")
    for key, value in given.items():
        if isinstance(value, dict):
            raise ValueError(
                f"{hparams_file}: --{key}: override scalars, not a section: "
                "HyperPyYAML would merge it into the old one without checking "
                "its keys"
            )
    written = _parse(text, hparams_file)
    _refuse_endless(hparams_file, written, given)
    try:
        with open(hparams_file, encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides)
    except Exception as error:  # whatever a YAML file's objects may raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{hparams_file}: cannot be loaded with overrides {given}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    for key in keys:
        if key not in hparams:
            similar = difflib.get_close_matches(key, hparams)
            hint = f"; is {similar[0]!r} a misspelling?" if similar else ""
            raise ValueError(f"{hparams_file}: key {key!r} is missing{hint}")
    for key, value in written.items():
        # An object may be an alternative that the command line chooses.
        is_object = isinstance(value, dict) or str(value).startswith("!")
        is_used = key in keys or f"<{key}>" in text or key.startswith("__")
        if not is_used and not is_object:
            similar = difflib.get_close_matches(key, keys)
            hint = f"; is it {similar[0]!r} misspelt?" if similar else ""
            raise ValueError(f"{hparams_file}: nothing uses {key!r}{hint}")
    return Experiment(hparams_file, run_opts, overrides, hparams)


def _parse_arguments(argv: list[str]) -> tuple[str, RunOptions, str]:
    """SpeechBrain's, whose errors are preceded by all of its options."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return sb.parse_arguments(argv)
    except SystemExit as error:
        if not error.code:  # --help
            raise
        reason = " ".join(shown.getvalue().partition(": error: ")[2].split())
        raise ValueError(f"{reason}; in the arguments {argv}") from error


def _parse(text: str, origin: str) -> dict:
    try:
        values = yaml.load(text, Loader=TaglessLoader) or {}
    except Exception as error:  # also of a date without a month, of nesting
        reason = " ".join(str(error).split())
        raise ValueError(f"{origin}: not valid YAML: {reason}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{origin}: not keys and their values")
    return values


def _refuse_endless(hparams_file: str, written: dict, given: dict) -> None:
    """What HyperPyYAML would resolve for ever: circles, and powers."""
    for key, value in given.items():
        if isinstance(value, str) and "**" in value:
            raise ValueError(
                f"{hparams_file}: --{key}={value!r}: write the number, not a "
                "power, which may take for ever"
            )
    values = {**written, **given}
    uses = {key: re.findall(r"<(\w+)", str(values[key])) for key in values}
    for first in uses:
        seen, waiting = set(), [first]
        while waiting:
            for key in uses.get(waiting.pop(), []):
                if key == first:
                    raise ValueError(
                        f"{hparams_file}: {first!r} refers to itself, by the "
                        f"file or the overrides {given}"
                    )
                if key not in seen:
                    seen.add(key)
                    waiting.append(key)


def refuse_several_processes() -> None:
    """For a command that would do the same in each of them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "this command works in one process: start it with python, not "
            "with torchrun on several"
        )


def run(
    main: Callable[[list[str]], None], is_for_several: bool = False
) -> None:
    """Run a command; turn a user's error into one line and exit status 2.

    The traceback goes to the log file, if there is one already.

    Arguments
    ---------
    main : Callable[[list[str]], None]
        The command.
    is_for_several : bool
        Whether it may run in several processes, which torchrun starts.
    """
    logging.basicConfig(level=logging.INFO, format="%(name)s - %(message)s")
    try:
        if not is_for_several:
            refuse_several_processes()
        main(sys.argv[1:])
    except MainProcessError:  # which the main process has shown
        sys.exit(USER_ERROR)
    except Interrupted as stop:
        sys.stderr.write(f"{stop}\n")
        sys.exit(stop.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write(
            "Stopped at once: the same command begins anew, a training at its "
            "last checkpoint\n"
        )
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError) as error:
        logger.debug("The error below came from here:", exc_info=True)
        message = str(error)
        if message.startswith("Caught "):  # in a loader's worker
            message = message.strip().splitlines()[-1].partition(": ")[2]
        _fail(message)
    except RuntimeError as error:
        message = explain(error)
        if message is None:
            raise
        logger.debug("The error below came from here:", exc_info=True)
        _fail(message)


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(USER_ERROR)
