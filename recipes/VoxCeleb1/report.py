"""What a list of scored trials says, as JSON and as a few lines of text."""

import json
import os
import platform
import re
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import torch
from whole_files import replacing

from custom_modules.metrics import equal_error_rate, min_dcf, speaker_intervals
from custom_modules.scoring import Trials, speaker_id

P_TARGETS = (0.01, 0.001)
AS_RECORDED = "as recorded"  # condition of trials that were not degraded


def make_report(
    trials: Trials,
    scores: np.ndarray,
    num_resamples: int,
    seed: int,
    origin: dict,
) -> dict:
    """Measure scored trials.

    Arguments
    ---------
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,), a larger one says "same speaker".
    num_resamples : int
        Of the bootstrap over speakers.
    seed : int
        Of the bootstrap.
    origin : dict
        Where the scores come from; goes into the report as it is.

    Returns
    -------
    report : dict
        eer_percent, normalised min_dcf at p_target of 0.01 and 0.001, each
        with its 95 % interval over speakers and its threshold, numbers of
        trials and speakers, origin, commit; ready for JSON.
    """
    enrol = [speaker_id(name) for name in trials.enrol]
    test = [speaker_id(name) for name in trials.test]
    _, eer_threshold = equal_error_rate(scores, trials.is_target)
    costs = [partial(min_dcf, p_target=p_target) for p_target in P_TARGETS]
    eer, *estimates = speaker_intervals(
        scores,
        trials.is_target,
        enrol,
        test,
        [equal_error_rate, *costs],
        num_resamples,
        seed,
    )
    report = {
        "eer_percent": round(100 * eer.value, 4),
        "eer_interval_percent": [round(100 * x, 4) for x in eer[1:]],
        "eer_threshold": eer_threshold,
    }
    for p_target, cost, estimate in zip(
        P_TARGETS, costs, estimates, strict=True
    ):
        _, threshold = cost(scores, trials.is_target)
        name = f"min_dcf_{p_target}"
        report[name] = round(estimate.value, 4)
        report[f"{name}_interval"] = [round(x, 4) for x in estimate[1:]]
        # Infinite where rejecting all is cheapest: JSON has no such number.
        report[f"{name}_threshold"] = (
            threshold if np.isfinite(threshold) else None
        )
    return {
        **report,
        "num_trials": len(scores),
        "num_target_trials": int(np.sum(trials.is_target)),
        "num_speakers": len({*enrol, *test}),
        "seed": seed,
        "num_resamples": num_resamples,
        **origin,
        "commit": git_commit(),
    }


def summarise(report: dict) -> str:
    """Two or three lines for people."""
    low, high = report["eer_interval_percent"]
    first, second = P_TARGETS
    cost_low, cost_high = report[f"min_dcf_{first}_interval"]
    lines = [
        f"{report['num_trials']} trials ({report['num_target_trials']} target) "
        f"of {report['num_utterances']} utterances, {report['trials']}",
        f"EER {report['eer_percent']:.2f} % (95 % over speakers: {low:.2f} to "
        f"{high:.2f} %), minDCF({first}) {report[f'min_dcf_{first}']:.3f} "
        f"({cost_low:.3f} to {cost_high:.3f}), minDCF({second}) "
        f"{report[f'min_dcf_{second}']:.3f}",
    ]
    if "calibration" in report:
        calibration = report["calibration"]
        changes = "; ".join(
            f"{name} {', '.join(f'{k} {x:.3f}' for k, x in values.items())}"
            for name, values in (
                ("Cllr", calibration["cllr"]),
                ("actual DCF(0.01)", calibration["actual_dcf_0.01"]),
            )
        )
        lines.append(
            f"{changes} (learnt on {calibration['num_trials']} trials of "
            f"{calibration['trials']})"
        )
    if report["num_speakers_trained_on"]:
        lines.append(
            f"NOT A FAIR TEST: {report['num_speakers_trained_on']} of "
            f"{report['num_speakers']} speakers were trained on"
        )
    return "\n".join(lines) + "\n"


def write_json(path: Path, content: dict) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8"
        )


def machine(device: str) -> str:
    """Processor or GPU, cores and versions, as a report names them.

    Arguments
    ---------
    device : str
        That ran the model, "cpu" or "cuda:0".
    """
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")  # Linux leaves processor() empty
    if cpuinfo.exists():
        names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text())
        name = names[0] if names else name
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return (
        f"{name}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )


def git_commit() -> str | None:
    """Commit of the recipe, "-dirty" behind it if changed; None without git."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # git is not installed
        return None
    return result.stdout.strip() or None
