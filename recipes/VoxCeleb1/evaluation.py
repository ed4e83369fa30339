"""Trials to the utterances they need, and their scores to the report."""

import sys
from pathlib import Path

import numpy as np
from audio_files import inspect_many
from processes import run_on_main
from report import machine, summarise, write_json
from torch.utils.data import DataLoader
from whole_utterances import make_evaluation_loader

from custom_modules.checksums import file_digest
from custom_modules.degradation import Degradation
from custom_modules.scoring import (
    Trials,
    index_utterances,
    speaker_id,
    write_scores,
)

PAGE, DEVELOPMENT_SCORES = "report.html", "development_scores.txt"


def trial_speakers(trials: Trials) -> set[str]:
    """Speakers of all utterances of the trials.

    Example
    -------
    >>> trials = Trials(["b/s/1", "b/s/1"], ["b/s/2", "a/s/1"], [True, False])
    >>> sorted(trial_speakers(trials))
    ['a', 'b']
    """
    return {speaker_id(name) for name in (*trials.enrol, *trials.test)}


def refuse_contradictions(trials: Trials, path: Path) -> None:
    """Labels must say of two names what their speakers, first folders, say.

    Arguments
    ---------
    trials : Trials
        Names 'speaker/session/utterance'.
    path : Path
        Where they are from, a trial in each line.

    Raises
    ------
    ValueError
        Names the first line that contradicts itself.

    Example
    -------
    >>> trials = Trials(["a/s/1"], ["a/s/2"], np.array([True]))
    >>> refuse_contradictions(trials, Path("veri_test2.txt"))
    """
    for line, (enrol, test, is_target) in enumerate(
        zip(*trials, strict=True), start=1
    ):
        if is_target != (speaker_id(enrol) == speaker_id(test)):
            raise ValueError(
                f"{path}:{line}: {enrol} and {test} are labelled as "
                f"{'one speaker' if is_target else 'two speakers'}; names must "
                "be speaker/session/utterance, for intervals are over speakers"
            )


def refuse_overlap(
    overlap: set[str], trial_list: Path, is_allowed: bool
) -> None:
    """Speakers that were trained on make the error rate too low.

    Arguments
    ---------
    overlap : set[str]
        Speakers of the trials that were trained on.
    trial_list : Path
        Where the trials are from.
    is_allowed : bool
        Whether to go on nevertheless.

    Raises
    ------
    ValueError
        Names the list and five of the speakers.

    Example
    -------
    >>> refuse_overlap(set(), Path("veri_test2.txt"), is_allowed=False)
    """
    if overlap and not is_allowed:
        names = ", ".join(sorted(overlap)[:5])
        raise ValueError(
            f"{trial_list}: {len(overlap)} of its speakers were trained on "
            f"({names}{', …' if len(overlap) > 5 else ''}), so the error rate "
            "would be too low. Verify on other speakers, or have the report "
            "labelled by --allow_overlap=True"
        )


def locate_utterances(
    trials: Trials, trial_list: Path, found: dict[str, str]
) -> dict[str, str]:
    """Find the file of every utterance of the trials.

    Arguments
    ---------
    trials : Trials
        Names with or without their audio suffix.
    trial_list : Path
        Where the trials are from.
    found : dict[str, str]
        File of each utterance of the data folder.

    Returns
    -------
    utterances : dict[str, str]
        File of each utterance of the trials, once, sorted by name.

    Raises
    ------
    ValueError
        Names the first line of the list whose utterance is missing.

    Example
    -------
    >>> trials = Trials(["b/s/2.wav"], ["b/s/1.wav"], [True])
    >>> found = {name: f"{name}.flac" for name in ("b/s/1", "b/s/2", "c")}
    >>> list(locate_utterances(trials, Path("veri_test2.txt"), found))
    ['b/s/1', 'b/s/2']
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


def measure_durations(
    utterances: dict[str, str], sample_rate: int, files: str
) -> dict[str, float]:
    """Look into the file of each utterance, for its length in s.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    sample_rate : int
        The model's, in Hz: files below it are refused.
    files : str
        What an error calls the files, as "files of veri_test2.txt".

    Returns
    -------
    durations : dict[str, float]
        Of each utterance.

    Raises
    ------
    ValueError
        Names the first ten files that cannot be used.
    """
    infos, problems = inspect_many(list(utterances.values()), sample_rate)
    if problems:
        raise ValueError(
            f"{len(problems)} {files} cannot be used; repair them:\n  "
            + "\n  ".join(problems[:10])
        )
    durations = [info.num_samples / info.sample_rate for info in infos]
    return dict(zip(utterances, durations, strict=True))


def make_loader(
    utterances: dict[str, str],
    files: str,
    sample_rate: int,
    batch_seconds: float,
    num_workers: int,
    degradation: Degradation | None = None,
) -> DataLoader:
    """Batches of utterances, whose files are looked into first.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    files : str
        What an error calls the files, see `measure_durations`.
    sample_rate : int
        Hz.
    batch_seconds : float
        Speech of a batch in s, see `make_evaluation_loader`.
    num_workers : int
        Processes that read.
    degradation : Degradation | None
        What is done to each; None: as recorded.

    Returns
    -------
    loader : DataLoader
        Batches with id and sig (batch, samples).

    Raises
    ------
    ValueError
        Names the first ten files that cannot be used.
    """
    durations = run_on_main(measure_durations, utterances, sample_rate, files)
    return make_evaluation_loader(
        utterances,
        durations,
        batch_seconds,
        sample_rate,
        num_workers,
        degradation,
    )


def identify(trial_list: Path) -> dict[str, str]:
    """Name a trial list by its name and its content.

    Example
    -------
    >>> path = getfixture("tmp_path") / "veri_test2.txt"
    >>> _ = path.write_text("1 a/s/1.wav a/s/2.wav")
    >>> identify(path)["trials"], identify(path)["trials_sha256"][:8]
    ('veri_test2.txt', 'ead518b5')
    """
    return {
        "trials": trial_list.name,
        "trials_sha256": file_digest(trial_list),
    }


def trial_origin(
    trial_list: Path,
    num_utterances: int,
    device: str,
    scoring: str = "cosine",
    normalisation: str = "none",
) -> dict:
    """What a report says of where its scores come from, whatever the model.

    Arguments
    ---------
    trial_list : Path
        Where the trials are from.
    num_utterances : int
        Of the trials.
    device : str
        That ran the model, "cpu" or "cuda:0".
    scoring : str
        What the scores are.
    normalisation : str
        What was done to them.

    Returns
    -------
    origin : dict
        trials (the list's name), trials_sha256 (its digest), scoring,
        score_normalisation, machine and num_utterances.

    Example
    -------
    >>> path = getfixture("tmp_path") / "veri_test2.txt"
    >>> _ = path.write_text("1 a/s/1.wav a/s/2.wav")
    >>> origin = trial_origin(path, num_utterances=2, device="cpu")
    >>> origin["trials"], origin["trials_sha256"][:8]
    ('veri_test2.txt', 'ead518b5')
    """
    return {
        **identify(trial_list),
        "scoring": scoring,
        "score_normalisation": normalisation,
        "machine": machine(device),
        "num_utterances": num_utterances,
    }


def remove_earlier(output_folder: Path) -> None:
    """Remove what another verification may have left, and this may not write.

    Its page, and its development scores, which a fusion would take for this
    one's.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / PAGE).touch()
    >>> remove_earlier(folder)
    >>> list(folder.iterdir())
    []
    """
    for name in (PAGE, DEVELOPMENT_SCORES):
        (output_folder / name).unlink(missing_ok=True)


def write_report(
    output_folder: Path, trials: Trials, scores: np.ndarray, report: dict
) -> None:
    """Write scores.txt and report.json, and show the summary.

    Arguments
    ---------
    output_folder : Path
        Made if missing.
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    report : dict
        Of `make_report`, whose origin has what `trial_origin` gives, and
        num_speakers_trained_on.
    """
    output_folder.mkdir(parents=True, exist_ok=True)
    write_scores(output_folder / "scores.txt", trials, scores)
    write_json(output_folder / "report.json", report)
    sys.stdout.write(summarise(report))
    sys.stdout.write(f"scores.txt, report.json: {output_folder.resolve()}\n")
