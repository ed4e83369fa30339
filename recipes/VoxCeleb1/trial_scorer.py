"""Embeddings of trials to scores: back-end, centring, normalisation."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from cohort import TrainingUtterances, cohort_matrix, draw_training
from extraction import score_trials
from torch import Tensor

from custom_modules.normalisation import check_top_k
from custom_modules.scoring import Trials

Embed = Callable[[dict[str, str], str], dict[str, Tensor]]
Scorer = Callable[[Trials, dict[str, Tensor]], np.ndarray]


class TrainingData(NamedTuple):
    """Training utterances that scoring needs, each None where it does not.

    Arguments
    ---------
    cohort : TrainingUtterances | None
        Of normalisation and of centring.
    plda : TrainingUtterances | None
        Of a back-end that is trained.
    """

    cohort: TrainingUtterances | None
    plda: TrainingUtterances | None


def draw_training_data(
    hparams: dict, speakers: set[str], emb_dim: int
) -> TrainingData:
    """Draw what scoring needs, and refuse what does not do, at once.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    speakers : set[str]
        Who is in the trials.
    emb_dim : int
        Of the model's embeddings.

    Returns
    -------
    data : TrainingData
        Nothing of it embedded yet.
    """

    def draw(key: str) -> TrainingUtterances:
        return draw_training(
            hparams["train_manifest"],
            hparams["train_folder"],
            key,
            hparams[key],
            hparams["seed"],
            speakers,
        )

    normalisation, cohort, plda = hparams["normalisation"], None, None
    if normalisation is not None or hparams["centre"]:
        cohort = draw("cohort_size")
    if normalisation is not None:
        num_members = cohort.num_members(hparams["cohort_speaker_means"])
        check_top_k(normalisation.top_k, num_members)
    if hparams["backend"].is_trained:
        plda = draw("plda_size")
        hparams["backend"].sizes(emb_dim, list(plda.speakers.values()))
    return TrainingData(cohort, plda)


def make_scorer(hparams: dict, data: TrainingData, embed: Embed) -> Scorer:
    """Embed the training utterances and fit the back-end on them.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    data : TrainingData
        Of `draw_training_data`.
    embed : Embed
        Files, and what an error calls them, to embeddings (emb_dim,).

    Returns
    -------
    scorer : Scorer
        Trials and embeddings of their utterances to scores (trials,).
    """
    cohort = mean = None
    if data.plda is not None:
        embeddings = embed(data.plda.files, "files of the training")
        hparams["backend"].fit(
            torch.stack(list(embeddings.values())),
            [data.plda.speakers[utt_id] for utt_id in embeddings],
        )
    if data.cohort is not None:
        embeddings = embed(data.cohort.files, "files of the cohort")
        if hparams["centre"]:
            mean = torch.stack(list(embeddings.values())).mean(dim=0)
        cohort = cohort_matrix(
            embeddings,
            data.cohort.speakers,
            hparams["cohort_speaker_means"],
            mean,
            is_of_units=not hparams["backend"].is_trained,
        )
    return partial(
        score_trials,
        cohort=cohort,
        normalisation=hparams["normalisation"],
        mean=mean,
        backend=hparams["backend"],
    )


def describe_scoring(hparams: dict, data: TrainingData) -> tuple[str, str]:
    """What the scores are and how they were normalised, for the report.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    data : TrainingData
        Of `draw_training_data`.

    Returns
    -------
    scoring : str
    normalisation : str
    """
    scoring = str(hparams["backend"])
    if data.plda is not None:
        num_speakers = len({*data.plda.speakers.values()})
        scoring += (
            f", of {len(data.plda.files)} training utterances of "
            f"{num_speakers} speakers"
        )
    if hparams["centre"]:
        scoring += ", centred"
    if hparams["normalisation"] is None:
        return scoring, "none"
    of_speakers = hparams["cohort_speaker_means"]
    members = "speakers" if of_speakers else "utterances"
    return scoring, (
        f"{hparams['normalisation']}, cohort of "
        f"{data.cohort.num_members(of_speakers)} {members} of the training"
    )
