#!/usr/bin/env python3
"""Verify a trained model on a list of trials.

usage: python verify.py hparams/verify.yaml [--key=value …]
Example: python verify.py hparams/verify.yaml --trials=O
"""

from pathlib import Path

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
from extraction import embed_utterances, load_model, score_trials
from processes import gather_from_all, process_group, run_on_main
from progress import show_progress
from report import make_report
from speechbrain.inference.speaker import SpeakerRecognition
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor
from voxceleb1_layout import find_trials, find_utterances
from whole_utterances import choose_batch_seconds

from custom_modules.distributed import process_rank
from custom_modules.normalisation import check_top_k
from custom_modules.scoring import read_trials

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
    _, run_opts, _, hparams = load_experiment(argv, KEYS, __doc__)
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
        if hparams["normalisation"] is not None:
            num_members = drawn.num_members(hparams["cohort_speaker_means"])
            check_top_k(hparams["normalisation"].top_k, num_members)
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
    scores = score_trials(
        trials,
        embeddings,
        cohort,
        hparams["normalisation"],
        is_centred=hparams["centre"],
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
    is_main = process_rank() == 0
    progress = show_progress(loader, "Embeddings", "batch", is_wanted=is_main)
    return gather_from_all(embed_utterances(progress, model.mods, model.device))


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
