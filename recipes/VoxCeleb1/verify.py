#!/usr/bin/env python3
"""Verify a trained model on a list of trials.

usage: python verify.py hparams/verify.yaml [--key=value …]
"""

from pathlib import Path

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
from report import make_report
from speechbrain.utils.run_opts import RunOptions
from tqdm import tqdm
from voxceleb1_layout import find_trials, find_utterances
from whole_utterances import choose_batch_seconds

from custom_modules.distributed import process_rank
from custom_modules.scoring import read_trials

KEYS = [
    "seed",
    "data_folder",
    "model_folder",
    "model_yaml",
    "output_folder",
    "trials",
    "allow_overlap",
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
    loader = make_loader(
        utterances,
        f"files of {trial_list}",
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
    embeddings = gather_from_all(
        embed_utterances(progress, model.mods, model.device)
    )
    if process_rank() > 0:
        return
    scores = score_trials(trials, embeddings)
    report = make_report(
        trials,
        scores,
        hparams["num_resamples"],
        hparams["seed"],
        {
            **trial_origin(trial_list, len(utterances), model.device),
            "num_speakers_trained_on": len(overlap),
            "model": f"{hparams['model_folder']}/{hparams['model_yaml']}",
            "training": {k: v for k, v in training.items() if k != "speakers"},
        },
    )
    write_report(output_folder, trials, scores, report)


if __name__ == "__main__":
    run(main, is_for_several=True)
