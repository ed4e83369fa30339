"""Measures of quality of the recordings of trials."""

from collections.abc import Callable, Sequence

import numpy as np
from loader_workers import leave_to_main
from processes import gather_from_all, own_share
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Subset
from whole_utterances import UtteranceDataset

from custom_modules.scoring import Trials, index_utterances

Measure = Callable[[Tensor, int, Tensor], float]


def measure_quality(
    dataset: UtteranceDataset,
    embeddings: dict[str, Tensor],
    measures: Sequence[Measure],
    num_workers: int,
) -> dict[str, np.ndarray]:
    """Measure each utterance; of several processes, each does its share.

    Arguments
    ---------
    dataset : UtteranceDataset
        The utterances, as they were embedded.
    embeddings : dict[str, Tensor]
        (emb_dim,) of each.
    measures : Sequence[Measure]
        Of `custom_modules.quality`.
    num_workers : int
        Processes that read.

    Returns
    -------
    quality : dict[str, np.ndarray]
        (measures,) of each utterance.
    """
    quality = {}
    if measures:
        loader = DataLoader(
            Subset(dataset, own_share(range(len(dataset)))),
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=leave_to_main,
            generator=Generator(),
        )
        for item in loader:
            utt_id, wav = item["id"], item["sig"]
            quality[utt_id] = np.array(
                [
                    measure(wav, dataset.sample_rate, embeddings[utt_id])
                    for measure in measures
                ]
            )
    return gather_from_all(quality)


def quality_columns(
    trials: Trials, quality: dict[str, np.ndarray]
) -> np.ndarray:
    """The mean of both utterances' measures, for each trial.

    Arguments
    ---------
    trials : Trials
        The trials.
    quality : dict[str, np.ndarray]
        (measures,) of each utterance; empty without measures.

    Returns
    -------
    columns : np.ndarray
        (trials, measures).

    Example
    -------
    >>> trials = Trials(["a/1"], ["b/1"], np.array([False]))
    >>> quality = {"a/1": np.array([1.0]), "b/1": np.array([2.0])}
    >>> quality_columns(trials, quality)
    array([[1.5]])
    """
    if not quality:
        return np.empty((len(trials.enrol), 0))
    index = index_utterances(trials)
    rows = np.stack([quality[utt_id] for utt_id in index.utt_ids])
    return (rows[index.enrol] + rows[index.test]) / 2
