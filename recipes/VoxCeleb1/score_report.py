"""A report on scores alone, of whatever toolkit."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from evaluation import (
    PAGE,
    refuse_contradictions,
    remove_earlier,
    trial_origin,
    write_report,
)
from report import make_report
from report_page import write_report_page
from voxceleb1_layout import find_trials, find_utterances

from custom_modules.score_files import match_scores, read_score_file
from custom_modules.scoring import Trials, index_utterances, read_trials


def report_scores(hparams: dict, is_folder_typed: bool) -> None:
    """Measure a score file, without a model.

    Its labels make the trials where it has some and none were asked for;
    else the trial list is found as for a verification. The report goes to the
    folder FILE_report unless `output_folder` was typed: the default one is a
    model's.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml: scores, trials, data_folder, output_folder,
        num_resamples, seed and page; the keys of degradation, to refuse them.
    is_folder_typed : bool
        Whether `output_folder` was typed.

    Raises
    ------
    ValueError, FileNotFoundError
        Names the file, and the line where there is one.
    """
    path = Path(hparams["scores"]).absolute()
    for key in ("max_seconds", "test_noise_folder", "test_snr"):
        if hparams[key] is not None:
            raise ValueError(
                f"--{key}={hparams[key]}: {path} has scores, not recordings "
                "that could be degraded; leave it out"
            )
    score_file = read_score_file(path)
    output_folder = path.with_name(f"{path.stem}_report")
    if is_folder_typed:
        output_folder = Path(hparams["output_folder"])
    has_trials = score_file.pairs is not None and (
        score_file.is_target is not None
    )
    if has_trials and hparams["trials"] is None:
        trial_list, scores = path, score_file.scores
        enrol, test = zip(*score_file.pairs, strict=True)
        trials = Trials(list(enrol), list(test), score_file.is_target)
        refuse_one_class(trials.is_target, path)
    else:
        trial_list = find_trials(
            hparams["data_folder"], output_folder, hparams["trials"]
        )
        trials = read_trials(trial_list)
        scores = match_scores(score_file, trials, path)
    refuse_contradictions(trials, trial_list)
    index = index_utterances(trials)
    utterances = {}
    if hparams["page"]:  # without audio the page has no players
        with suppress(FileNotFoundError):
            utterances = find_utterances(hparams["data_folder"])
    report = make_report(
        trials,
        scores,
        hparams["num_resamples"],
        hparams["seed"],
        {
            **trial_origin(
                trial_list,
                len(index.utt_ids),
                "cpu",
                f"of {path.name}",
                "as in the file",
            ),
            "num_speakers_trained_on": None,
            "model": None,
        },
    )
    remove_earlier(output_folder)
    write_report(output_folder, trials, scores, report)
    if hparams["page"]:
        write_report_page(
            output_folder / PAGE,
            report,
            trials,
            scores,
            {k: utterances[k] for k in index.utt_ids if k in utterances},
            data_folder=hparams["data_folder"],
        )


def refuse_one_class(is_target: np.ndarray, path: Path) -> None:
    """Trials of one class have no error rate.

    Example
    -------
    >>> refuse_one_class(np.array([True, False]), Path("scores.txt"))
    """
    if is_target.all() or not is_target.any():
        raise ValueError(
            f"{path}: all {len(is_target)} labels are {int(is_target[0])}; "
            "error rates need target (1) and non-target (0) trials"
        )
