"""One training and its verification, each in a process of its own."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, NamedTuple

import yaml
from command import TaglessLoader
from experiment_table import TRAINING, words
from folder_use import using
from hyperpyyaml import resolve_references
from interruption import Interrupted, stop_request
from whole_files import replacing

RECIPE = Path(__file__).parent
LOG = "console.txt"
# What may differ between two runs that give the same result.
PLACES = {"output_folder", "save_folder", "model_folder", "train_log"}
PLACES |= {"cache_folder"}
PACE = {"num_workers", "ckpt_interval_minutes", "eval_batch_seconds"}
LOGS = {"more_loggers", "tensorboard", "wandb", "wandb_mode"}
# Of verification: what is written besides its figures.
EXTRAS = {"page": False, "block_rates": False}
IGNORED = PLACES | PACE | LOGS | EXTRAS.keys()
IGNORED_OPTIONS = {"device", "noprogressbar", "tqdm_colored_bar", "log_config"}


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
    trials_sha256 : str
        Of the trial list that the report is of.
    """

    folder: Path
    script: str
    hparams: str
    overrides: dict
    options: list[str]
    verification: dict | None
    verification_name: str
    trials_sha256: str

    @property
    def report(self) -> Path:
        """The report.json that makes the run finished."""
        if self.verification is None:
            return self.folder / "report.json"
        return self.folder / self.verification_name / "report.json"

    @property
    def verify_yaml(self) -> str:
        """The YAML file of its verification."""
        return str(Path(self.hparams).with_name("verify.yaml"))


class PlainLoader(TaglessLoader):
    """Resolved HyperPyYAML as plain data: [tag, arguments] for an object."""


def _tagged(loader: PlainLoader, suffix: str, node: yaml.Node) -> list:
    if isinstance(node, yaml.MappingNode):
        return [suffix, loader.construct_mapping(node, deep=True)]
    if isinstance(node, yaml.SequenceNode):
        return [suffix, loader.construct_sequence(node, deep=True)]
    return [suffix, loader.construct_scalar(node)]


PlainLoader.add_multi_constructor("!", _tagged)


def resolve(hparams: str, overrides: dict) -> dict:
    """Read a YAML file, overridden, as plain data, without what is ignored.

    Arguments
    ---------
    hparams : str
        The YAML file.
    overrides : dict
        Its overrides.

    Returns
    -------
    content : dict
        All that decides on the result: two equal ones give the same model.
    """
    given = {k: v for k, v in overrides.items() if k not in IGNORED}
    text = "\n".join(word[2:].replace("=", ": ", 1) for word in words(given))
    with open(hparams, encoding="utf-8") as file:
        resolved = resolve_references(file, text)
    content = yaml.load(resolved.getvalue(), Loader=PlainLoader)
    return {k: v for k, v in content.items() if k not in IGNORED}


def run_folder(
    folder: Path,
    script: str,
    hparams: str,
    overrides: dict,
    options: list[str],
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
    options : list[str]
        SpeechBrain's options; precision counts, the device does not.

    Returns
    -------
    folder : Path
        Such as runs/tables/mfcon-1f0c5a2b-1986.
    """
    content = resolve(hparams, overrides)
    counted = [
        option
        for option in sorted(options)
        if option.removeprefix("--").partition("=")[0] not in IGNORED_OPTIONS
    ]
    parts = [script, content, *([counted] if counted else [])]
    canonical = json.dumps(parts, sort_keys=True, default=str)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    return folder / f"{Path(hparams).stem}-{digest}-{content['seed']}"


def is_finished(run: Run) -> bool:
    """Whether its report is there, of the verification asked for."""
    if not run.report.exists():
        return False
    report = json.loads(run.report.read_text("utf-8"))
    if report["trials_sha256"] != run.trials_sha256:
        return False
    if run.verification is None:
        return True
    settings = run.report.with_name("settings.json")
    return settings.exists() and json.loads(
        settings.read_text("utf-8")
    ) == _settings(run)


def _settings(run: Run) -> dict:
    """What decides on a verification's report, as JSON would give it back."""
    settings = resolve(run.verify_yaml, run.verification)
    return json.loads(json.dumps(settings, default=str))


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
    # The commands inherit the lock, for where this process is killed alone.
    with using(run.folder, "lock") as lock:
        if not (run.folder / "model" / "training.json").exists():
            launcher = [sys.executable]
            if num_gpus > 1 and run.script == TRAINING:
                launcher += ["-m", "torch.distributed.run", "--standalone"]
                launcher += [f"--nproc_per_node={num_gpus}"]
            overrides = {**run.overrides, "output_folder": str(run.folder)}
            _call(launcher, run, run.script, run.hparams, overrides, lock)
        if run.verification is not None:
            settings = run.report.with_name("settings.json")
            settings.parent.mkdir(exist_ok=True)
            settings.unlink(missing_ok=True)  # the old report is no longer it
            overrides = {
                **EXTRAS,
                **run.verification,
                "model_folder": str(run.folder / "model"),
                "output_folder": str(run.report.parent),
            }
            launcher = [sys.executable]
            _call(launcher, run, "verify.py", run.verify_yaml, overrides, lock)
            with replacing(settings) as partial:
                text = json.dumps(_settings(run), indent=2) + "\n"
                partial.write_text(text, "utf-8")
    return (time.monotonic() - started) / 60


def _call(
    launcher: list[str],
    run: Run,
    script: str,
    hparams: str,
    overrides: dict,
    lock: IO,
) -> None:
    command = [str(RECIPE / script), hparams, *run.options, *words(overrides)]
    log = run.folder / LOG
    with open(log, "a+", encoding="utf-8", errors="replace") as file:
        file.write(f"$ {' '.join([*launcher, *command])}\n")
        file.flush()
        start = file.tell()
        with (
            subprocess.Popen(
                [*launcher, *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=(lock.fileno(),),
            ) as process,
            stop_request(forward=process.send_signal) as request,
        ):
            process.wait()
        file.seek(start)
        lines = [line for line in file.read().splitlines() if line.strip()]
    if request:
        raise Interrupted(
            f"Stopped: {run.folder} and the rest go on with the same command",
            request.exit_status,
        )
    if process.returncode:
        errors = [line for line in lines if line.startswith("error: ")]
        last = (errors or lines or ["it printed nothing"])[-1]
        raise ValueError(
            f"{script}: {last.removeprefix('error: ')} (exit status "
            f"{process.returncode}; all that it printed is in {log.absolute()})"
        )
