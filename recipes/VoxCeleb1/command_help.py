"""What --help says of a command that takes a YAML file."""

import re
import sys
from pathlib import Path

import speechbrain as sb

OPTIONS = """
-h, --help           this, with the keys of the YAML file if one is given
--help_speechbrain   SpeechBrain's own options, such as --device=cpu and
                     --precision=bf16
"""
# Sections of objects are exchanged by other keys, and not overridden.
KEY = re.compile(r"(?!__)\w+: (?!!new:|!name:|!include:|!apply:).*")


def describe_keys(text: str) -> str:
    """The keys of a YAML file that can be overridden, with their comments.

    Arguments
    ---------
    text : str
        Of the file.

    Returns
    -------
    lines : str
        As they would be typed.

    Example
    -------
    >>> text = "loss: !new:a.Loss\\n    margin: 1\\nlr: 0.1  # peak\\n__a: 1\\n"
    >>> describe_keys(text)
    '  --lr=0.1  # peak'
    """
    lines = [line for line in text.splitlines() if KEY.fullmatch(line)]
    return "\n".join(f"  --{line.replace(': ', '=', 1)}" for line in lines)


def show_help(argv: list[str], description: str) -> None:
    """Print help and end, where it is asked for.

    Arguments
    ---------
    argv : list[str]
        The arguments.
    description : str
        Of the command: what it does, its usage, an example.

    Raises
    ------
    SystemExit
        With status 0, where help was printed.

    Example
    -------
    >>> show_help(["hparams/verify.yaml"], "Verify.")
    """
    if "--help_speechbrain" in argv:
        sb.parse_arguments(["a.yaml", "--help"])  # ends
    if not {"-h", "--help"} & set(argv):
        return
    sys.stdout.write(f"{description.strip()}\n{OPTIONS}")
    for word in argv:
        if Path(word).suffix == ".yaml" and Path(word).is_file():
            keys = describe_keys(Path(word).read_text("utf-8"))
            sys.stdout.write(f"\nKeys of {word}:\n{keys}\n")
    sys.exit(0)
