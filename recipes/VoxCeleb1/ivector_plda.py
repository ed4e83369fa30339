#!/usr/bin/env python3
"""Train i-vectors and PLDA on VoxCeleb1, and verify them: the baseline.

usage: python ivector_plda.py hparams/ivector.yaml [--key=value …]
Example: python ivector_plda.py hparams/ivector.yaml --num_components=512
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from command import load_experiment, run
from evaluation import (
    locate_utterances,
    measure_durations,
    refuse_overlap,
    trial_origin,
    trial_speakers,
    write_report,
)
from ivector_extraction import (
    collect_statistics,
    draw_frames,
    extract_ivectors,
)
from progress import show_progress
from report import git_commit, machine, make_report
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import infer_device
from torch import Tensor
from voxceleb1_layout import find_trials, find_utterances
from voxceleb1_prepare import prepare_voxceleb1
from whole_files import replacing
from whole_utterances import (
    choose_batch_seconds,
    make_evaluation_loader,
    read_manifest,
)

from custom_modules.cepstra import VoicedCepstra
from custom_modules.ivector import TotalVariability
from custom_modules.metrics import equal_error_rate
from custom_modules.plda import (
    Backend,
    check_sizes,
    score_trials,
    train_backend,
)
from custom_modules.scoring import Trials, read_trials, speaker_id
from custom_modules.ubm import DiagonalGMM

logger = logging.getLogger(__name__)

KEYS = [
    "seed",
    "data_folder",
    "output_folder",
    "save_folder",
    "sample_rate",
    "trials",
    "num_dev_speakers",
    "num_dev_trials",
    "batch_seconds",
    "num_workers",
    "training_utterances",
    "ubm_frames",
    "ubm_iterations",
    "ivector_size",
    "ivector_iterations",
    "lda_size",
    "plda_rank",
    "plda_iterations",
    "features",
    "ubm",
    "total_variability",
    "num_resamples",
]


class Data(NamedTuple):
    """Utterances and trials; no speaker is in two of the three sets."""

    train: dict[str, str]  # file of each utterance, in random order
    dev: dict[str, str]  # empty without development speakers
    test: dict[str, str]
    durations: dict[str, float]  # s, of all three
    dev_trials: Path | None
    trial_list: Path
    trials: Trials  # of trial_list


def prepare_data(hparams: dict) -> Data:
    """Find and check all utterances, and that the sizes fit their number."""
    data_folder, sample_rate = hparams["data_folder"], hparams["sample_rate"]
    manifests = prepare_voxceleb1(
        data_folder,
        hparams["save_folder"],
        trials=hparams["trials"],
        num_dev_speakers=hparams["num_dev_speakers"],
        num_dev_trials=hparams["num_dev_trials"],
        sample_rate=sample_rate,
        seed=hparams["seed"],
    )
    train, durations = read_manifest(manifests.train_csv, data_folder)
    speakers = {speaker_id(utt_id) for utt_id in train}
    sizes = [hparams[k] for k in ("ivector_size", "lda_size", "plda_rank")]
    check_sizes(*sizes, len(speakers), len(train))
    trial_list = find_trials(
        data_folder, hparams["save_folder"], hparams["trials"]
    )
    trials = read_trials(trial_list)
    overlap = trial_speakers(trials) & speakers
    refuse_overlap(overlap, trial_list, is_allowed=False)
    test = locate_utterances(trials, trial_list, find_utterances(data_folder))
    durations |= measure_durations(test, sample_rate, f"files of {trial_list}")
    dev = {}
    if manifests.dev_csv is not None:
        dev, dev_durations = read_manifest(manifests.dev_csv, data_folder)
        durations |= dev_durations
    return Data(
        train, dev, test, durations, manifests.dev_trials, trial_list, trials
    )


def iterate(
    name: str, em_step: Callable[[], float], num_iterations: int
) -> list[str]:
    """Run EM; log, and return, a line for each step."""
    lines = []
    for step in range(1, num_iterations + 1):
        lines.append(f"{name} step: {step} - log-likelihood: {em_step():.6f}")
        logger.info(lines[-1])
    return lines


def draw_utterances(
    utterances: dict[str, str], num_utterances: int | None
) -> dict[str, str]:
    """Draw utterances of the training manifest, all of them where None."""
    if num_utterances is not None and num_utterances < 1:
        raise ValueError(
            f"training_utterances ({num_utterances}) must be at least 1, or "
            "null for all"
        )
    # The manifest's rows are shuffled: its first ones are a random draw.
    return dict(itertools.islice(utterances.items(), num_utterances))


def train_ubm(
    ubm: DiagonalGMM,
    loader: Iterable[PaddedBatch],
    features: VoicedCepstra,
    frames_per_utterance: int,
    num_iterations: int,
    generator: torch.Generator,
    device: str,
) -> list[str]:
    """Train the UBM on frames drawn of every utterance; return the log."""
    frames = draw_frames(
        show_progress(loader, "Frames", "batch"),
        features,
        frames_per_utterance,
        generator,
        device,
    )
    ubm.initialise(frames, generator)
    return iterate("ubm", partial(ubm.em_step, frames), num_iterations)


def train_total_variability(
    total_variability: TotalVariability,
    loader: Iterable[PaddedBatch],
    features: VoicedCepstra,
    ubm: DiagonalGMM,
    num_iterations: int,
    generator: torch.Generator,
    device: str,
) -> list[str]:
    """Train T on the statistics of every utterance; return the log."""
    statistics = collect_statistics(
        show_progress(loader, "Statistics", "batch"), features, ubm, device
    )
    total_variability.initialise(ubm.variances, generator)
    em_step = partial(total_variability.em_step, *statistics)
    return iterate("total_variability", em_step, num_iterations)


def write_log(path: Path, lines: list[str]) -> None:
    """Write the lines of the training, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", "utf-8")


def measure_development(
    backend: Backend, trial_list: Path | None, ivectors: dict[str, Tensor]
) -> float | None:
    """EER of the development trials, None where there are none."""
    if trial_list is None:
        return None
    trials = read_trials(trial_list)
    scores = score_trials(backend, trials, ivectors)
    eer, _ = equal_error_rate(scores, trials.is_target)
    logger.info(f"EER of the development trials: {100 * eer:.2f} %")
    return float(eer)


@torch.no_grad()
def main(argv: list[str]) -> None:
    """UBM, total variability, LDA and PLDA, trials to report: in this order."""
    # SpeechBrain turns it on: log-likelihoods of frames need the digits.
    torch.backends.cuda.matmul.allow_tf32 = False
    start, commit = time.monotonic(), git_commit()
    hparams_file, run_opts, overrides, hparams = load_experiment(
        argv, KEYS, __doc__
    )
    output_folder, seed = Path(hparams["output_folder"]), hparams["seed"]
    device = run_opts.device or infer_device()
    data = prepare_data(hparams)
    speakers = [speaker_id(utt_id) for utt_id in data.train]
    drawn = draw_utterances(data.train, hparams["training_utterances"])
    make_loader = partial(
        make_evaluation_loader,
        durations=data.durations,
        batch_seconds=choose_batch_seconds(hparams["batch_seconds"], device),
        sample_rate=hparams["sample_rate"],
        num_workers=hparams["num_workers"],
    )
    features = hparams["features"].to(device)
    ubm = hparams["ubm"].to(device)
    total_variability = hparams["total_variability"].to(device)
    generator = torch.Generator().manual_seed(seed)
    share = -(-hparams["ubm_frames"] // len(drawn))  # rounded up
    logger.info(
        f"{len(speakers)} utterances of {len(set(speakers))} speakers; UBM "
        f"and T of {len(drawn)} utterances, the UBM of {share} frames of each"
    )
    log = train_ubm(
        ubm,
        make_loader(drawn),
        features,
        share,
        hparams["ubm_iterations"],
        generator,
        device,
    )
    log += train_total_variability(
        total_variability,
        make_loader(drawn),
        features,
        ubm,
        hparams["ivector_iterations"],
        generator,
        device,
    )
    write_log(output_folder / "train_log.txt", log)
    ivectors = extract_ivectors(
        show_progress(
            make_loader({**data.train, **data.dev, **data.test}),
            "I-vectors",
            "batch",
        ),
        features,
        ubm,
        total_variability,
        device,
    )
    backend = train_backend(
        torch.stack([ivectors[utt_id] for utt_id in data.train]),
        speakers,
        hparams["lda_size"],
        hparams["plda_rank"],
        hparams["plda_iterations"],
    )
    dev_eer = measure_development(backend, data.dev_trials, ivectors)
    scores = score_trials(backend, data.trials, ivectors)
    report = make_report(
        data.trials,
        scores,
        hparams["num_resamples"],
        seed,
        {
            **trial_origin(
                data.trial_list,
                len(data.test),
                device,
                scoring="PLDA log-likelihood ratio",
            ),
            "num_speakers_trained_on": 0,
            "model": Path(hparams_file).name,
            "training": {
                "hparams_file": Path(hparams_file).name,
                "overrides": overrides,
                "seed": seed,
                "num_speakers": len(set(speakers)),
                "dev_eer": dev_eer,
                "minutes": round((time.monotonic() - start) / 60, 2),
                "machine": machine(device),
                "commit": commit,
            },
        },
    )
    write_report(output_folder, data.trials, scores, report)


if __name__ == "__main__":
    run(main)
