#!/usr/bin/env python3
"""Verify a trained model on a list of trials.

usage: python verify.py hparams/verify.yaml [--key=value …]
"""

import hashlib
import sys
from pathlib import Path

from audio_files import inspect_many
from command import load_experiment, run
from dataio import make_evaluation_loader
from extraction import embed_utterances, load_model, score_trials
from report import machine, make_report, summarise, write_json
from tqdm import tqdm
from voxceleb1_layout import find_trials, find_utterances

from custom_modules.scoring import (
    Trials,
    index_utterances,
    read_trials,
    speaker_id,
    write_scores,
)

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


def locate_utterances(
    trials: Trials, trial_list: Path, found: dict[str, Path]
) -> dict[str, Path]:
    """Find the file of every utterance of the trials.

    Raises
    ------
    ValueError
        Names the first line of the list whose utterance is missing.
    """
    index = index_utterances(trials)
    missing = {i for i, utt in enumerate(index.utt_ids) if utt not in found}
    for line, pair in enumerate(zip(index.enrol, index.test, strict=True), 1):
        wrong = [index.utt_ids[i] for i in pair if i in missing]
        if wrong:
            raise ValueError(
                f"{trial_list}:{line}: there is no file of {wrong[0]} "
                f"({len(missing)} of {len(index.utt_ids)} utterances are "
                "missing): complete the data, or give the trial list that "
                "belongs to them"
            )
    return {utt_id: found[utt_id] for utt_id in index.utt_ids}


def refuse_overlap(
    overlap: set[str], trial_list: Path, is_allowed: bool
) -> None:
    """Speakers that were trained on make the error rate too low."""
    if overlap and not is_allowed:
        names = ", ".join(sorted(overlap)[:5])
        raise ValueError(
            f"{trial_list}: {len(overlap)} of its speakers were trained on "
            f"({names}{', …' if len(overlap) > 5 else ''}), so the error rate "
            "would be too low. Verify on other speakers, or have the report "
            "labelled by --allow_overlap=True"
        )


def main(argv: list[str]) -> None:
    """Trials to utterances to embeddings to scores to report."""
    _, run_opts, _, hparams = load_experiment(argv, KEYS)
    output_folder = Path(hparams["output_folder"])
    found = find_utterances(hparams["data_folder"])
    trial_list = find_trials(
        hparams["data_folder"], output_folder, hparams["trials"]
    )
    trials = read_trials(trial_list)
    model, training = load_model(
        hparams["model_folder"], hparams["model_yaml"], run_opts
    )
    speakers = {speaker_id(name) for name in (*trials.enrol, *trials.test)}
    overlap = speakers & set(training["speakers"])
    refuse_overlap(overlap, trial_list, hparams["allow_overlap"])
    utterances = locate_utterances(trials, trial_list, found)
    sample_rate = model.hparams.sample_rate
    infos, problems = inspect_many(list(utterances.values()), sample_rate)
    if problems:
        raise ValueError(
            f"{len(problems)} files of {trial_list} cannot be used; repair "
            "them:\n  " + "\n  ".join(problems[:10])
        )
    durations = [info.num_samples / info.sample_rate for info in infos]
    loader = make_evaluation_loader(
        utterances,
        dict(zip(utterances, durations, strict=True)),
        hparams["batch_seconds"],
        sample_rate,
        hparams["num_workers"],
    )
    progress = tqdm(loader, desc="Embeddings", unit="batch", disable=None)
    embeddings = embed_utterances(progress, model.mods, model.device)
    scores = score_trials(trials, embeddings)
    report = make_report(
        trials,
        scores,
        hparams["num_resamples"],
        hparams["seed"],
        {
            "trials": trial_list.name,
            "trials_sha256": hashlib.sha256(
                trial_list.read_bytes()
            ).hexdigest(),
            "score_normalisation": "none",
            "machine": machine(model.device),
            "num_utterances": len(utterances),
            "num_speakers_trained_on": len(overlap),
            "model": f"{hparams['model_folder']}/{hparams['model_yaml']}",
            "training": {k: v for k, v in training.items() if k != "speakers"},
        },
    )
    output_folder.mkdir(parents=True, exist_ok=True)
    write_scores(output_folder / "scores.txt", trials, scores)
    write_json(output_folder / "report.json", report)
    sys.stdout.write(summarise(report))
    sys.stdout.write(f"scores.txt, report.json: {output_folder.resolve()}\n")


if __name__ == "__main__":
    run(main)
