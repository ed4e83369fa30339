#!/usr/bin/env python3
"""Verify a trained model on a list of trials.

usage: python verify.py hparams/verify.yaml [--key=value …]
"""

from pathlib import Path

import numpy as np
import torch
from cohort import cohort_matrix, draw_cohort
from command import load_experiment, run
from evaluation import (
    locate_utterances,
    make_loader,
    refuse_overlap,
    trial_origin,
    trial_speakers,
    write_report,
)
from extraction import embed_utterances, load_model
from processes import gather_from_all, process_group, run_on_main
from report import make_report
from speechbrain.inference.speaker import SpeakerRecognition
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor
from tqdm import tqdm
from voxceleb1_layout import find_trials, find_utterances
from whole_utterances import choose_batch_seconds

from custom_modules.distributed import process_rank
from custom_modules.normalisation import CohortNormalisation
from custom_modules.scoring import (
    Trials,
    cosine_scores,
    index_utterances,
    read_trials,
)

KEYS = [
    "seed",
    "data_folder",
    "model_folder",
    "model_yaml",
    "output_folder",
    "trials",
    "allow_overlap",
    "centre",
    "normalisation",
    "cohort_manifest",
    "cohort_folder",
    "cohort_size",
    "cohort_speaker_means",
    "batch_seconds",
    "num_workers",
    "num_resamples",
]


def main(argv: list[str]) -> None:
    """Trials to utterances to embeddings to scores to report."""
    _, run_opts, _, hparams = load_experiment(argv, KEYS)
    with process_group(run_opts) as run_opts:
        verify(hparams, run_opts)


def verify(hparams: dict, run_opts: RunOptions) -> None:
    """Verify, in each process; only the main one writes."""
    output_folder = Path(hparams["output_folder"])
    found = run_on_main(find_utterances, hparams["data_folder"])
    trial_list = run_on_main(
        find_trials, hparams["data_folder"], output_folder, hparams["trials"]
    )
    trials = read_trials(trial_list)
    model, training = load_model(
        hparams["model_folder"], hparams["model_yaml"], run_opts
    )
    overlap = trial_speakers(trials) & set(training["speakers"])
    refuse_overlap(overlap, trial_list, hparams["allow_overlap"])
    utterances = locate_utterances(trials, trial_list, found)
    needs_cohort = hparams["normalisation"] is not None or hparams["centre"]
    if needs_cohort:  # drawn first: what is wrong with it is said at once
        drawn = draw_cohort(
            hparams["cohort_manifest"],
            hparams["cohort_folder"],
            hparams["cohort_size"],
            hparams["seed"],
            trial_speakers(trials),
        )
    embeddings = embed(utterances, f"files of {trial_list}", model, hparams)
    cohort = None
    if needs_cohort:
        cohort = cohort_matrix(
            embed(drawn.files, "files of the cohort", model, hparams),
            drawn.speakers,
            hparams["cohort_speaker_means"],
        )
    if process_rank() > 0:
        return
    scores = score(
        trials, embeddings, cohort, hparams["normalisation"], hparams["centre"]
    )
    report = make_report(
        trials,
        scores,
        hparams["num_resamples"],
        hparams["seed"],
        {
            **trial_origin(
                trial_list,
                len(utterances),
                model.device,
                "cosine, centred" if hparams["centre"] else "cosine",
                describe(hparams, cohort),
            ),
            "num_speakers_trained_on": len(overlap),
            "model": f"{hparams['model_folder']}/{hparams['model_yaml']}",
            "training": {k: v for k, v in training.items() if k != "speakers"},
        },
    )
    write_report(output_folder, trials, scores, report)


def embed(
    utterances: dict[str, str],
    files: str,
    model: SpeakerRecognition,
    hparams: dict,
) -> dict[str, Tensor]:
    """Embeddings of files, of each process's share, in all of them."""
    loader = make_loader(
        utterances,
        files,
        model.hparams.sample_rate,
        choose_batch_seconds(hparams["batch_seconds"], model.device),
        hparams["num_workers"],
    )
    progress = tqdm(
        loader,
        desc="Embeddings",
        unit="batch",
        disable=True if process_rank() else None,
    )
    return gather_from_all(embed_utterances(progress, model.mods, model.device))


def score(
    trials: Trials,
    embeddings: dict[str, Tensor],
    cohort: Tensor | None,
    normalisation: CohortNormalisation | None,
    is_centred: bool,
) -> np.ndarray:
    """Cosines of the trials, centred and normalised where asked for.

    Arguments
    ---------
    trials : Trials
        Of utterances that all have an embedding.
    embeddings : dict[str, Tensor]
        (emb_dim,) of each utterance.
    cohort : Tensor | None
        (members, emb_dim), where there is something to do by it.
    normalisation : CohortNormalisation | None
        None leaves the cosines.
    is_centred : bool
        Whether the cohort's mean is subtracted from all embeddings first.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,).
    """
    index = index_utterances(trials)
    matrix = torch.stack([embeddings[utt_id] for utt_id in index.utt_ids])
    if is_centred:
        mean = cohort.mean(dim=0)
        matrix, cohort = matrix - mean, cohort - mean
    scores = cosine_scores(matrix, index.enrol, index.test)
    if normalisation is None:
        return scores
    return normalisation(scores, index, matrix, cohort)


def describe(hparams: dict, cohort: Tensor | None) -> str:
    """How scores were normalised, for the report."""
    if hparams["normalisation"] is None:
        return "none"
    members = "speakers" if hparams["cohort_speaker_means"] else "utterances"
    return (
        f"{hparams['normalisation']}, cohort of {len(cohort)} {members} of "
        "the training"
    )


if __name__ == "__main__":
    run(main, is_for_several=True)
