"""The command line of `reproduce.py`."""

import argparse

import yaml
from command import TaglessLoader
from experiment_table import OWN_KEYS
from speechbrain.utils.run_opts import RunOptions

# SpeechBrain's options that are keys of our YAML files too.
BOTH = {"max_grad_norm", "ckpt_interval_minutes"}


class Settings(argparse.Namespace):
    """Arguments of the command line; see `parse`."""

    table: str
    output_folder: str
    seeds: list[int] | None
    rows: str | None
    sweep: str | None
    scale_file: str | None
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
        epilog="Overrides (--key=value) and SpeechBrain's options go to "
        "training and verification. Example: python reproduce.py "
        "experiments/mfcon_table5.yaml --data_folder=data/VoxCeleb1",
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
    add("--scale_file", help="YAML file with overrides of each YAML file")
    add("--test_folder", help="verify on this corpus, not on data_folder")
    add("--num_gpus", type=int, default=1, help="more than one: torchrun")
    settings, rest = parser.parse_known_args(argv, namespace=Settings())
    if settings.num_gpus < 1:
        raise ValueError(f"--num_gpus={settings.num_gpus}: at least 1")
    settings.seeds = _read_seeds(settings.seeds)
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
        if key in run_options and key not in BOTH:
            settings.options.append(word)
        elif has_value:
            settings.overrides[key] = yaml.load(value, Loader=TaglessLoader)
        else:
            raise ValueError(f"{word}: write overrides as --key=value")
    return settings


def _read_seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--seeds={text}: whole numbers, separated by commas"
        ) from error
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds={text}: a seed is given twice")
    return seeds
