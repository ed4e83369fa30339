"""Trials with their utterances: the test's and the development's."""

from pathlib import Path
from typing import NamedTuple

from embedding_cache import EmbeddingCache, take_or_compute
from evaluation import (
    locate_utterances,
    make_loader,
    refuse_contradictions,
    refuse_overlap,
    trial_speakers,
)
from extraction import embed_utterances
from processes import gather_from_all
from progress import show_progress
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor
from whole_utterances import choose_batch_seconds, read_manifest

from custom_modules.degradation import Degradation
from custom_modules.distributed import process_rank
from custom_modules.scoring import Trials, read_trials


class TrialSet(NamedTuple):
    """A list of trials and the files that it needs.

    Arguments
    ---------
    path : Path
        The list.
    trials : Trials
        What it says.
    utterances : dict[str, str]
        File of each utterance.
    degradation : Degradation | None
        What is done to each utterance; None: as recorded.
    """

    path: Path
    trials: Trials
    utterances: dict[str, str]
    degradation: Degradation | None = None


def read_trial_set(path: Path, found: dict[str, str]) -> TrialSet:
    """Read a list of trials and locate its utterances.

    Arguments
    ---------
    path : Path
        The list.
    found : dict[str, str]
        File of each utterance there is.

    Returns
    -------
    trial_set : TrialSet
        Each of its utterances has a file.
    """
    trials = read_trials(path)
    utterances = locate_utterances(trials, path, found)
    refuse_contradictions(trials, path)
    return TrialSet(path, trials, utterances)


def read_development(
    manifest: str | Path,
    path: str | Path,
    data_folder: str | Path,
    others: dict[str, set[str]],
) -> TrialSet:
    """Read the development trials that calibration is learnt on.

    Arguments
    ---------
    manifest : str | Path
        Of the training, save/dev.csv.
    path : str | Path
        Its trials, save/dev_trials.txt.
    data_folder : str | Path
        What the manifest's files are below.
    others : dict[str, set[str]]
        Speakers that must not be among them, by what they are.

    Returns
    -------
    trial_set : TrialSet
        Of other speakers.

    Raises
    ------
    ValueError
        Where the training had no development trials, or names the speakers
        that are among others too.
    """
    for file in (manifest, path):
        if not Path(file).is_file():
            raise ValueError(
                f"{Path(file).absolute()} is missing: calibration is learnt on "
                "the development trials of the training, which "
                "--num_dev_speakers=0 leaves out; give --dev_manifest and "
                "--dev_trials of other speakers"
            )
    utterances, _ = read_manifest(Path(manifest), Path(data_folder))
    trial_set = read_trial_set(Path(path), utterances)
    speakers = trial_speakers(trial_set.trials)
    for kind, names in others.items():
        shared = sorted(speakers & names)
        if shared:
            raise ValueError(
                f"{path}: {len(shared)} of its speakers are {kind} "
                f"({', '.join(shared[:5])}): calibration must be learnt on "
                "others"
            )
    return trial_set


def embed_files(
    utterances: dict[str, str],
    files: str,
    model: SpeakerRecognition,
    hparams: dict,
    cache: EmbeddingCache | None,
    degradation: Degradation | None = None,
) -> dict[str, Tensor]:
    """Embeddings of files, of each process's share, in all of them.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    files : str
        What an error calls the files, as "files of veri_test2.txt".
    model : SpeakerRecognition
        Of `load_model`.
    hparams : dict
        batch_seconds and num_workers.
    cache : EmbeddingCache | None
        Where embeddings of the same files are taken from, and new ones go;
        not those of degraded ones.
    degradation : Degradation | None
        What is done to each utterance; None: as recorded.

    Returns
    -------
    embeddings : dict[str, Tensor]
        (emb_dim,) of each utterance, in their order.
    """

    def compute(missing: dict[str, str]) -> dict[str, Tensor]:
        loader = make_loader(
            missing,
            files,
            model.hparams.sample_rate,
            choose_batch_seconds(hparams["batch_seconds"], model.device),
            hparams["num_workers"],
            degradation,
        )
        is_main = process_rank() == 0
        progress = show_progress(
            loader, "Embeddings", "batch", is_wanted=is_main
        )
        try:
            own = embed_utterances(progress, model.mods, model.device)
        except ValueError as error:
            if degradation is None:
                raise
            raise ValueError(f"{degradation}: {error}") from error
        return gather_from_all(own)

    return take_or_compute(
        utterances, None if degradation is not None else cache, compute
    )


def refuse_trained(
    test: TrialSet, training: dict, is_allowed: bool
) -> set[str]:
    """Speakers of the test that were trained on, an error unless allowed.

    Arguments
    ---------
    test : TrialSet
        The test.
    training : dict
        A model folder's training.json.
    is_allowed : bool
        Whether to go on nevertheless.

    Returns
    -------
    overlap : set[str]
        These speakers.
    """
    overlap = trial_speakers(test.trials) & set(training["speakers"])
    refuse_overlap(overlap, test.path, is_allowed)
    return overlap
