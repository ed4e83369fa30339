"""Scores of trials from embeddings.

From a list of trials to scores: :func:`read_trials`, then
:func:`index_utterances` names each utterance once, so that it is embedded
once, then :func:`cosine_scores`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from custom_modules.trial_sampling import draw_trials
from custom_modules.trials import (
    Trials,
    read_scores,
    read_trials,
    speaker_id,
    utterance_id,
    write_scores,
    write_trials,
)

__all__ = [
    "Trials",
    "UtteranceIndex",
    "cosine_scores",
    "draw_trials",
    "index_utterances",
    "read_scores",
    "read_trials",
    "speaker_id",
    "unit_embeddings",
    "utterance_id",
    "write_scores",
    "write_trials",
]

CHUNK = 1024  # trials; their embeddings, in float64, stay in the caches


class UtteranceIndex(NamedTuple):
    """Each utterance once, and where the trials find theirs."""

    utt_ids: list[str]  # sorted
    enrol: np.ndarray  # int (trials,), places in utt_ids
    test: np.ndarray  # int (trials,)


def index_utterances(trials: Trials) -> UtteranceIndex:
    """Name each utterance of a list of trials once.

    Arguments
    ---------
    trials : Trials
        Names with or without their audio suffix.

    Returns
    -------
    index : UtteranceIndex
        `utt_ids`, sorted and without suffix, and the places of each
        trial's two utterances in it.

    Example
    -------
    >>> is_target = np.array([True, False])
    >>> trials = Trials(["b/1.wav"] * 2, ["b/2.wav", "a/1.wav"], is_target)
    >>> index_utterances(trials)
    UtteranceIndex(utt_ids=['a/1', 'b/1', 'b/2'], enrol=array([1, 1]), \
test=array([2, 0]))
    """
    enrol = [utterance_id(name) for name in trials.enrol]
    test = [utterance_id(name) for name in trials.test]
    utt_ids = sorted({*enrol, *test})
    places = {utt_id: place for place, utt_id in enumerate(utt_ids)}

    def find(ids: Iterable[str]) -> np.ndarray:
        return np.array([places[utt_id] for utt_id in ids], dtype=np.int64)

    return UtteranceIndex(utt_ids, find(enrol), find(test))


def unit_embeddings(embeddings: Tensor) -> Tensor:
    """Divide embeddings by their lengths.

    Arguments
    ---------
    embeddings : Tensor
        (utterances, emb_dim), any device and floating dtype.

    Returns
    -------
    unit : Tensor
        float64 (utterances, emb_dim), on the CPU.

    Raises
    ------
    ValueError
        Where embeddings are not finite or all zero (how many, the first).

    Example
    -------
    >>> unit_embeddings(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    if embeddings.ndim != 2:
        raise ValueError(
            "embeddings must be (utterances, emb_dim), got "
            f"{tuple(embeddings.shape)}; SpeechBrain's (batch, 1, emb_dim) "
            "needs squeeze(1)"
        )
    embeddings = embeddings.detach().cpu().double()
    # Not F.normalize, which leaves embeddings below 1e-12 unnormalised.
    norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    for kind, is_bad in (
        ("not finite", ~norms.isfinite()),
        ("all zero", norms == 0),
    ):
        bad = is_bad.squeeze(1).nonzero().squeeze(1)
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(embeddings)} embeddings are {kind}, the "
                f"first at index {int(bad[0])}; check that utterance's audio "
                "and the model's parameters"
            )
    return embeddings / norms


def cosine_scores(
    embeddings: Tensor, enrol: ArrayLike, test: ArrayLike
) -> np.ndarray:
    """Compute the cosine between the two embeddings of each trial.

    In float64 on the CPU and trial by trial, so that a score depends on its
    two embeddings alone, not on the other trials.

    Arguments
    ---------
    embeddings : Tensor
        (utterances, emb_dim), any device and floating dtype.
    enrol : ArrayLike
        Rows of `embeddings` (trials,), int.
    test : ArrayLike
        Rows of `embeddings` (trials,), int.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,) in [-1, 1], up to rounding.

    Raises
    ------
    ValueError
        Where embeddings are not finite or all zero (how many, the first), or
        indices are unequal in number or out of range.

    Example
    -------
    >>> embeddings = torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, -1.0]])
    >>> cosine_scores(embeddings, [0, 1], [1, 2])
    array([ 0.6, -0.8])
    """
    unit = unit_embeddings(embeddings)
    enrol = torch.as_tensor(np.asarray(enrol, dtype=np.int64))
    test = torch.as_tensor(np.asarray(test, dtype=np.int64))
    if enrol.ndim != 1 or enrol.shape != test.shape:
        raise ValueError(
            "enrol and test need one index per trial, got shapes "
            f"{tuple(enrol.shape)} and {tuple(test.shape)}"
        )
    for name, rows in (("enrol", enrol), ("test", test)):
        bad = ((rows < 0) | (rows >= len(unit))).nonzero()
        if len(bad):
            raise ValueError(
                f"{name}[{int(bad[0])}] = {int(rows[bad[0]])} is no row of "
                f"{len(unit)} embeddings"
            )
    scores = [
        (unit[left] * unit[right]).sum(dim=1)
        for left, right in zip(
            enrol.split(CHUNK), test.split(CHUNK), strict=True
        )
    ]
    return torch.cat(scores).numpy()
