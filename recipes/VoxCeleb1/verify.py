#!/usr/bin/env python3
"""Verify a trained model on a list of trials.

usage: python verify.py hparams/verify.yaml [--key=value …]

With --scores=FILE it reports on the score file of any toolkit, without a
model; with --extract_to=FILE.npz it writes embeddings and scores nothing.
Example: python verify.py hparams/verify.yaml --trials=O
"""

from functools import partial
from pathlib import Path

import numpy as np
from augmentation_files import make_degradation
from block_rates import measure_model_blocks
from calibrating import calibrate
from command import load_experiment, run
from embedding_cache import open_cache
from embedding_files import extract
from evaluation import (
    DEVELOPMENT_SCORES,
    PAGE,
    identify,
    remove_earlier,
    trial_origin,
    trial_speakers,
    write_report,
)
from extraction import embedding_size, load_model
from processes import process_group, run_on_main
from quality_measurement import measure_quality, quality_columns
from report import AS_RECORDED, make_report
from report_page import write_report_page
from score_report import report_scores
from speechbrain.inference.speaker import SpeakerRecognition
from speechbrain.utils.run_opts import RunOptions
from trial_scorer import (
    Embed,
    Scorer,
    describe_scoring,
    draw_training_data,
    make_scorer,
)
from trial_sets import (
    TrialSet,
    embed_files,
    read_development,
    read_trial_set,
    refuse_trained,
)
from verification_checks import check_settings, typed_keys
from voxceleb1_layout import find_trials, find_utterances
from whole_utterances import UtteranceDataset

from custom_modules.checksums import file_digest
from custom_modules.distributed import process_rank
from custom_modules.scoring import write_scores

KEYS = [
    "seed",
    "data_folder",
    "model_folder",
    "model_yaml",
    "output_folder",
    "cache_folder",
    "trials",
    "allow_overlap",
    "scores",
    "extract_to",
    "audio_list",
    "backend",
    "lda_size",
    "plda_rank",
    "plda_iterations",
    "centre",
    "normalisation",
    "top_k",
    "train_manifest",
    "train_folder",
    "plda_size",
    "cohort_size",
    "cohort_speaker_means",
    "calibration",
    "p_target",
    "quality_measures",
    "dev_manifest",
    "dev_trials",
    "batch_seconds",
    "num_workers",
    "num_resamples",
    "max_seconds",
    "test_noise_folder",
    "test_snr",
    "page",
    "block_rates",
]
BLOCK_SETTINGS = ("batch_seconds", "num_workers", "num_resamples", "seed")


def main(argv: list[str]) -> None:
    """A score file to a report, files to embeddings, or trials to a report."""
    _, run_opts, overrides, hparams = load_experiment(argv, KEYS, __doc__)
    typed = typed_keys(overrides)
    check_settings(hparams, typed)
    with process_group(run_opts) as run_opts:
        if hparams["scores"] is not None:
            run_on_main(report_scores, hparams, "output_folder" in typed)
        elif hparams["extract_to"] is not None:
            extract(hparams, run_opts)
        else:
            verify(hparams, run_opts)


def verify(hparams: dict, run_opts: RunOptions) -> None:
    """Trials to utterances to embeddings to scores to report.

    In each process; only the main one writes.
    """
    output_folder = Path(hparams["output_folder"])
    calibration = hparams["calibration"]
    found = run_on_main(find_utterances, hparams["data_folder"])
    trial_list = run_on_main(
        find_trials, hparams["data_folder"], output_folder, hparams["trials"]
    )
    test, dev = read_trial_set(trial_list, found), None
    speakers = trial_speakers(test.trials)
    model, training = load_model(
        hparams["model_folder"], hparams["model_yaml"], run_opts
    )
    sample_rate = model.hparams.sample_rate
    test = test._replace(degradation=make_degradation(hparams, sample_rate))
    overlap = refuse_trained(test, training, hparams["allow_overlap"])
    if calibration is not None:
        dev = read_development(
            hparams["dev_manifest"],
            hparams["dev_trials"],
            hparams["train_folder"],
            {"in the test": speakers, "trained on": {*training["speakers"]}},
        )
        speakers = speakers | trial_speakers(dev.trials)
    data = draw_training_data(hparams, speakers, embedding_size(model))
    model_files = hparams["model_folder"], hparams["model_yaml"]
    cache = open_cache(hparams, model.device)
    embed = partial(embed_files, model=model, hparams=hparams, cache=cache)
    scorer = make_scorer(hparams, data, embed)
    columns = score_set(test, scorer, embed, sample_rate, hparams)
    scores, measured = columns[:, 0], {}
    if dev is not None:
        dev_columns = score_set(dev, scorer, embed, sample_rate, hparams)
        scores, dev_scores, measured["calibration"] = calibrate(
            calibration,
            ["score", *quality_names(hparams)],
            (columns, test.trials.is_target),
            (dev_columns, dev.trials.is_target),
            identify(dev.path),
        )
    if hparams["block_rates"]:
        measured["block_rates"] = measure_model_blocks(
            model,
            training,
            hparams["model_folder"],
            test.trials,
            test.utterances,
            degradation=test.degradation,
            cache=cache,
            **{key: hparams[key] for key in BLOCK_SETTINGS},
        )
    if process_rank() > 0:
        return
    scoring, normalisation = describe_scoring(hparams, data)
    checkpoint = Path(hparams["model_folder"]) / "embedding_model.ckpt"
    origin = {
        **trial_origin(
            trial_list,
            len(test.utterances),
            model.device,
            scoring,
            normalisation,
        ),
        "condition": str(test.degradation or AS_RECORDED),
        **measured,
        "num_speakers_trained_on": len(overlap),
        "model": "/".join(map(str, model_files)),
        "model_sha256": (
            file_digest(checkpoint) if checkpoint.is_file() else None
        ),
        "training": {k: v for k, v in training.items() if k != "speakers"},
    }
    write_results(hparams, model, test, scores, origin)
    if dev is not None:
        write_scores(output_folder / DEVELOPMENT_SCORES, dev.trials, dev_scores)


def quality_names(hparams: dict) -> list[str]:
    """What the measures of quality are called."""
    return [measure.name for measure in hparams["quality_measures"]]


def write_results(
    hparams: dict,
    model: SpeakerRecognition,
    test: TrialSet,
    scores: np.ndarray,
    origin: dict,
) -> None:
    """Write scores, report and page; what an earlier run left goes first.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    model : SpeakerRecognition
        That was verified.
    test : TrialSet
        The trials.
    scores : np.ndarray
        (trials,).
    origin : dict
        What the report says of them.
    """
    output_folder = Path(hparams["output_folder"])
    report = make_report(
        test.trials, scores, hparams["num_resamples"], hparams["seed"], origin
    )
    remove_earlier(output_folder)
    write_report(output_folder, test.trials, scores, report)
    if hparams["page"]:
        write_report_page(
            output_folder / PAGE,
            report,
            test.trials,
            scores,
            test.utterances,
            data_folder=hparams["data_folder"],
            model=model,
            settings={key: hparams[key] for key in KEYS}
            | {"quality_measures": quality_names(hparams)},
        )


def score_set(
    trial_set: TrialSet,
    scorer: Scorer,
    embed: Embed,
    sample_rate: int,
    hparams: dict,
) -> np.ndarray:
    """Scores of trials and, beside them, measures of quality.

    Arguments
    ---------
    trial_set : TrialSet
        The trials.
    scorer : Scorer
        Of `make_scorer`.
    embed : Embed
        Files to embeddings.
    sample_rate : int
        Hz, the model's.
    hparams : dict
        quality_measures and num_workers.

    Returns
    -------
    columns : np.ndarray
        (trials, 1 + measures).
    """
    degradation = trial_set.degradation
    embeddings = embed(
        trial_set.utterances,
        f"files of {trial_set.path}",
        degradation=degradation,
    )
    quality = measure_quality(
        UtteranceDataset(trial_set.utterances, sample_rate, degradation),
        embeddings,
        hparams["quality_measures"],
        hparams["num_workers"],
    )
    return np.column_stack(
        [
            scorer(trial_set.trials, embeddings),
            quality_columns(trial_set.trials, quality),
        ]
    )


if __name__ == "__main__":
    run(main, is_for_several=True)
