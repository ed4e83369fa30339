#!/usr/bin/env python3
"""Train i-vectors and PLDA on VoxCeleb1, and verify them: the baseline.

usage: python ivector_plda.py hparams/ivector.yaml [--key=value …]
"""

import hashlib
import itertools
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from audio_files import inspect_many
from command import load_experiment, run
from dataio import make_evaluation_loader, read_manifest
from ivector_extraction import (
    collect_statistics,
    draw_frames,
    extract_ivectors,
)
from plda_backend import check_sizes, score_trials, train_backend
from report import git_commit, machine, make_report, summarise, write_json
from speechbrain.utils.distributed import infer_device
from tqdm import tqdm
from verify import locate_utterances, refuse_overlap
from voxceleb1_layout import find_trials, find_utterances
from voxceleb1_prepare import prepare_voxceleb1
from whole_files import replacing

from custom_modules.metrics import equal_error_rate
from custom_modules.scoring import read_trials, speaker_id, write_scores

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
    utterances: dict[str, Path], num_utterances: int | None
) -> dict[str, Path]:
    """Draw utterances of the training manifest, all of them where None."""
    if num_utterances is not None and num_utterances < 1:
        raise ValueError(
            f"training_utterances ({num_utterances}) must be at least 1, or "
            "null for all"
        )
    # The manifest's rows are shuffled: its first ones are a random draw.
    return dict(itertools.islice(utterances.items(), num_utterances))


def measure_durations(
    utterances: dict[str, Path], sample_rate: int, origin: Path
) -> dict[str, float]:
    """Length of each utterance in s.

    Raises
    ------
    ValueError
        Names files of `origin` that cannot be used.
    """
    infos, problems = inspect_many(list(utterances.values()), sample_rate)
    if problems:
        raise ValueError(
            f"{len(problems)} files of {origin} cannot be used; repair them:"
            "\n  " + "\n  ".join(problems[:10])
        )
    durations = [info.num_samples / info.sample_rate for info in infos]
    return dict(zip(utterances, durations, strict=True))


@torch.no_grad()
def main(argv: list[str]) -> None:
    """UBM, total variability, LDA and PLDA, trials to report: in this order."""
    start, commit = time.monotonic(), git_commit()
    hparams_file, run_opts, overrides, hparams = load_experiment(argv, KEYS)
    data_folder, seed = hparams["data_folder"], hparams["seed"]
    sample_rate = hparams["sample_rate"]
    output_folder = Path(hparams["output_folder"])
    device = run_opts.device or infer_device()
    manifests = prepare_voxceleb1(
        data_folder,
        hparams["save_folder"],
        trials=hparams["trials"],
        num_dev_speakers=hparams["num_dev_speakers"],
        num_dev_trials=hparams["num_dev_trials"],
        sample_rate=sample_rate,
        seed=seed,
    )
    train_files, durations = read_manifest(manifests.train_csv, data_folder)
    speakers = sorted({speaker_id(utt_id) for utt_id in train_files})
    sizes = [hparams[k] for k in ("ivector_size", "lda_size", "plda_rank")]
    check_sizes(*sizes, len(speakers), len(train_files))
    trial_list = find_trials(
        data_folder, hparams["save_folder"], hparams["trials"]
    )
    trials = read_trials(trial_list)
    tested = {speaker_id(name) for name in (*trials.enrol, *trials.test)}
    refuse_overlap(tested & set(speakers), trial_list, is_allowed=False)
    test_files = locate_utterances(
        trials, trial_list, find_utterances(data_folder)
    )
    durations |= measure_durations(test_files, sample_rate, trial_list)
    dev_files = {}
    if manifests.dev_csv is not None:
        dev_files, lengths = read_manifest(manifests.dev_csv, data_folder)
        durations |= lengths

    def load(utterances: dict[str, Path], description: str) -> tqdm:
        loader = make_evaluation_loader(
            utterances,
            durations,
            hparams["batch_seconds"],
            sample_rate,
            hparams["num_workers"],
        )
        return tqdm(loader, desc=description, unit="batch", disable=None)

    drawn = draw_utterances(train_files, hparams["training_utterances"])
    features = hparams["features"].to(device)
    ubm = hparams["ubm"].to(device)
    model = hparams["total_variability"].to(device)
    generator = torch.Generator().manual_seed(seed)
    share = -(-hparams["ubm_frames"] // len(drawn))  # rounded up
    logger.info(
        f"{len(train_files)} utterances of {len(speakers)} speakers; UBM and "
        f"T of {len(drawn)} utterances, the UBM of {share} frames of each"
    )
    loader = load(drawn, "Frames")
    frames = draw_frames(loader, features, share, generator, device)
    ubm.initialise(frames, generator)
    log = iterate(
        "ubm", partial(ubm.em_step, frames), hparams["ubm_iterations"]
    )
    loader = load(drawn, "Statistics")
    statistics = collect_statistics(loader, features, ubm, device)
    model.initialise(ubm.variances, generator)
    log += iterate(
        "total_variability",
        partial(model.em_step, *statistics),
        hparams["ivector_iterations"],
    )
    output_folder.mkdir(parents=True, exist_ok=True)
    with replacing(output_folder / "train_log.txt") as path:
        path.write_text("\n".join(log) + "\n", "utf-8")

    loader = load({**train_files, **dev_files, **test_files}, "I-vectors")
    ivectors = extract_ivectors(loader, features, ubm, model, device)
    backend = train_backend(
        torch.stack([ivectors[utt_id] for utt_id in train_files]),
        [speaker_id(utt_id) for utt_id in train_files],
        hparams["lda_size"],
        hparams["plda_rank"],
        hparams["plda_iterations"],
    )
    dev_eer = None
    if manifests.dev_trials is not None:
        dev_trials = read_trials(manifests.dev_trials)
        dev_scores = score_trials(backend, dev_trials, ivectors)
        dev_eer, _ = equal_error_rate(dev_scores, dev_trials.is_target)
        logger.info(f"EER of the development trials: {100 * dev_eer:.2f} %")
    scores = score_trials(backend, trials, ivectors)
    report = make_report(
        trials,
        scores,
        hparams["num_resamples"],
        seed,
        {
            "trials": trial_list.name,
            "trials_sha256": hashlib.sha256(
                trial_list.read_bytes()
            ).hexdigest(),
            "score_normalisation": "none",
            "machine": machine(device),
            "num_utterances": len(test_files),
            "num_speakers_trained_on": 0,
            "model": Path(hparams_file).name,
            "training": {
                "hparams_file": Path(hparams_file).name,
                "overrides": overrides,
                "seed": seed,
                "num_speakers": len(speakers),
                "dev_eer": None if dev_eer is None else float(dev_eer),
                "minutes": round((time.monotonic() - start) / 60, 2),
                "machine": machine(device),
                "commit": commit,
            },
        },
    )
    write_scores(output_folder / "scores.txt", trials, scores)
    write_json(output_folder / "report.json", report)
    sys.stdout.write(summarise(report))
    sys.stdout.write(f"scores.txt, report.json: {output_folder.resolve()}\n")


if __name__ == "__main__":
    run(main)
