"""Training utterances that scoring needs: cohort of normalisation, PLDA's."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from manifest import Manifest, Row
from torch import Tensor


class TrainingUtterances(NamedTuple):
    """Utterances to embed.

    Arguments
    ---------
    files : dict[str, str]
        File of each.
    speakers : dict[str, str]
        Speaker of each.
    """

    files: dict[str, str]
    speakers: dict[str, str]

    def num_members(self, is_of_speakers: bool) -> int:
        """Of the cohort that `cohort_matrix` makes of them."""
        return len({*self.speakers.values()} if is_of_speakers else self.files)


def draw_training(
    manifest: str | Path,
    data_folder: str | Path,
    key: str,
    size: int | None,
    seed: int,
    trial_speakers: set[str],
) -> TrainingUtterances:
    """Draw utterances of a manifest, none of them of a speaker of the trials.

    Arguments
    ---------
    manifest : str | Path
        Of the training, save/train.csv.
    data_folder : str | Path
        What the manifest's files are below.
    key : str
        What YAML calls the size.
    size : int | None
        How many; None, or more than there are, takes all.
    seed : int
        Of the draw.
    trial_speakers : set[str]
        Who is in the trials.

    Returns
    -------
    drawn : TrainingUtterances
        Sorted by identifier.

    Raises
    ------
    ValueError
        Where there is no such manifest, or a speaker of the trials in it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> row = "a/s/1,1.0,$data_root/wav/a/s/1.wav,a"
    >>> _ = path.write_text(f"ID,duration,wav,spk_id\\n{row}")
    >>> draw_training(path, "data", "cohort_size", None, 1, {"b"}).speakers
    {'a/s/1': 'a'}
    """
    rows: list[Row] = list(Manifest(manifest, data_folder))
    shared = {row.spk_id for row in rows} & trial_speakers
    if shared:
        raise ValueError(
            f"{manifest}: {len(shared)} of its speakers are in the trials "
            f"({', '.join(sorted(shared)[:5])}): a cohort, or PLDA, must have "
            "others"
        )
    if size is not None and size < len(rows):
        if size < 2:
            raise ValueError(f"{key} ({size}) must be 2 or more, or null")
        chosen = np.random.default_rng(seed).permutation(len(rows))[:size]
        rows = [rows[place] for place in chosen]
    rows.sort()
    return TrainingUtterances(
        {row.utt_id: row.wav for row in rows},
        {row.utt_id: row.spk_id for row in rows},
    )


def cohort_matrix(
    embeddings: dict[str, Tensor],
    speakers: dict[str, str],
    is_of_speakers: bool,
    mean: Tensor | None = None,
    is_of_units: bool = True,
) -> Tensor:
    """Embeddings of a cohort's utterances, or the means of its speakers.

    Arguments
    ---------
    embeddings : dict[str, Tensor]
        (emb_dim,) of each utterance.
    speakers : dict[str, str]
        Speaker of each utterance.
    is_of_speakers : bool
        Whether a member is a speaker: the mean of the embeddings.
    mean : Tensor | None
        (emb_dim,), subtracted from each embedding first.
    is_of_units : bool
        Whether a speaker's embeddings are divided by their lengths before the
        mean, as for cosines. A back-end that centres by itself takes them as
        they are.

    Returns
    -------
    cohort : Tensor
        (members, emb_dim), sorted by utterance or speaker.

    Example
    -------
    >>> embeddings = {"a/1": torch.ones(1), "a/2": torch.full((1,), 3.0)}
    >>> cohort_matrix(embeddings, {"a/1": "a", "a/2": "a"}, True)
    tensor([[1.]])
    """
    utt_ids = sorted(embeddings)
    matrix = torch.stack([embeddings[utt_id] for utt_id in utt_ids])
    if mean is not None:
        matrix = matrix - mean
    if not is_of_speakers:
        return matrix
    names, places = np.unique(
        [speakers[utt_id] for utt_id in utt_ids], return_inverse=True
    )
    if is_of_units:
        matrix = torch.nn.functional.normalize(matrix, dim=1)
    sums = torch.zeros(len(names), matrix.shape[1], dtype=matrix.dtype)
    sums.index_add_(0, torch.from_numpy(places), matrix)
    return sums / torch.bincount(torch.from_numpy(places)).unsqueeze(1)
