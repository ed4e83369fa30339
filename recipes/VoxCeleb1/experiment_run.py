"""One training and its verification, each in a process of its own."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import yaml
from command import TaglessLoader
from experiment_table import TRAINING, words
from hyperpyyaml import resolve_references

RECIPE = Path(__file__).parent
LOG = "console.txt"
# What may differ between two trainings that give the same model.
PLACES = ("output_folder", "save_folder", "model_folder", "train_log")
PACE = ("num_workers", "ckpt_interval_minutes", "eval_batch_seconds")


class Run(NamedTuple):
    """A configuration, a seed, and the folder of its results.

    Arguments
    ---------
    folder : Path
        Named by the configuration and the seed: tables share runs.
    script : str
        The command that trains.
    hparams : str
        Its YAML file.
    overrides : dict
        Of training, without the folder.
    options : list[str]
        SpeechBrain's options of both commands.
    verification : dict | None
        Overrides of verify.yaml; None where the script reports by itself.
    verification_name : str
        Of the folder, in `folder`, that the report is in.
    """

    folder: Path
    script: str
    hparams: str
    overrides: dict
    options: list[str]
    verification: dict | None
    verification_name: str = "verification"

    @property
    def report(self) -> Path:
        """The report.json that makes the run finished."""
        if self.verification is None:
            return self.folder / "report.json"
        return self.folder / self.verification_name / "report.json"


def run_folder(
    folder: Path, script: str, hparams: str, overrides: dict
) -> Path:
    """Name the folder of a configuration: another one gets another folder.

    The name is that of the YAML file, a hash of it as resolved, whatever was
    edited or overridden, and the seed. Folders of results, numbers of workers
    and intervals of saving do not count.

    Arguments
    ---------
    folder : Path
        Of all runs.
    script : str
        The command.
    hparams : str
        Its YAML file.
    overrides : dict
        Its overrides, the seed among them.

    Returns
    -------
    folder : Path
        Such as runs/tables/mfcon-1f0c5a2b-1986.
    """
    ignored = {*PLACES, *PACE}
    given = {k: v for k, v in overrides.items() if k not in ignored}
    text = "\n".join(word[2:].replace("=", ": ", 1) for word in words(given))
    with open(hparams, encoding="utf-8") as file:
        resolved = resolve_references(file, text)
    content = yaml.load(resolved.getvalue(), Loader=PlainLoader)
    content = {k: v for k, v in content.items() if k not in ignored}
    canonical = json.dumps([script, content], sort_keys=True, default=str)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    return folder / f"{Path(hparams).stem}-{digest}-{content['seed']}"


class PlainLoader(TaglessLoader):
    """Resolved HyperPyYAML as plain data: [tag, arguments] for an object."""


def _tagged(loader: PlainLoader, suffix: str, node: yaml.Node) -> list:
    if isinstance(node, yaml.MappingNode):
        return [suffix, loader.construct_mapping(node, deep=True)]
    if isinstance(node, yaml.SequenceNode):
        return [suffix, loader.construct_sequence(node, deep=True)]
    return [suffix, loader.construct_scalar(node)]


PlainLoader.add_multi_constructor("!", _tagged)


def is_finished(run: Run) -> bool:
    """Whether its report is there, of the verification asked for."""
    if run.verification is None:
        return run.report.exists()
    arguments = run.report.with_name("arguments.json")
    return (
        run.report.exists()
        and arguments.exists()
        and json.loads(arguments.read_text("utf-8")) == run.verification
    )


def execute(run: Run, num_gpus: int) -> float:
    """Train and verify, or go on where it was interrupted.

    Arguments
    ---------
    run : Run
        What to run; what it prints goes to console.txt in its folder.
    num_gpus : int
        More than one: training under torchrun.

    Returns
    -------
    minutes : float
        It took.

    Raises
    ------
    ValueError
        With a failed command's last words and where the rest is.
    """
    started = time.monotonic()
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / LOG).unlink(missing_ok=True)
    if not (run.folder / "model" / "training.json").exists():
        launcher = [sys.executable]
        if num_gpus > 1 and run.script == TRAINING:
            launcher += ["-m", "torch.distributed.run", "--standalone"]
            launcher += [f"--nproc_per_node={num_gpus}"]
        overrides = {**run.overrides, "output_folder": str(run.folder)}
        _call(launcher, run, run.script, run.hparams, overrides)
    if run.verification is not None:
        run.report.parent.mkdir(exist_ok=True)
        run.report.unlink(missing_ok=True)
        overrides = {
            **run.verification,
            "model_folder": str(run.folder / "model"),
            "output_folder": str(run.report.parent),
        }
        hparams = str(Path(run.hparams).with_name("verify.yaml"))
        _call([sys.executable], run, "verify.py", hparams, overrides)
        arguments = json.dumps(run.verification, indent=2) + "\n"
        run.report.with_name("arguments.json").write_text(arguments, "utf-8")
    return (time.monotonic() - started) / 60


def _call(
    launcher: list[str], run: Run, script: str, hparams: str, overrides: dict
) -> None:
    command = [str(RECIPE / script), hparams, *run.options, *words(overrides)]
    log = run.folder / LOG
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ {' '.join([*launcher, *command])}\n")
        file.flush()
        result = subprocess.run(
            [*launcher, *command],
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        lines = log.read_text("utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        last = (errors or [line for line in lines if line.strip()])[-1]
        raise ValueError(
            f"{script}: {last.removeprefix('error: ')} (exit status "
            f"{result.returncode}; all that it printed is in {log.absolute()})"
        )
