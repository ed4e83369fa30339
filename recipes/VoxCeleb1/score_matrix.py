"""Scores of every file with every other, computed and written as CSV."""

import csv
from typing import TextIO

import numpy as np
import torch
from torch import Tensor

from custom_modules.scoring import cosine_scores


def score_files(
    rows: list[str], columns: list[str], embeddings: dict[str, Tensor]
) -> np.ndarray:
    """Cosine score of every file of one list with every one of another.

    Arguments
    ---------
    rows : list[str]
        Files.
    columns : list[str]
        Files; the same ones or others.
    embeddings : dict[str, Tensor]
        (emb_dim,) of those that have one.

    Returns
    -------
    scores : np.ndarray
        (rows, columns) in [-1, 1]; NaN where one of the two has none.

    Example
    -------
    >>> embeddings = {"a": torch.tensor([2.0, 0]), "b": torch.tensor([3.0, 4])}
    >>> score_files(["a", "silent"], ["a", "b"], embeddings)
    array([[1. , 0.6],
           [nan, nan]])
    """
    scores = np.full((len(rows), len(columns)), np.nan)
    places = {path: place for place, path in enumerate(embeddings)}
    row, column = (
        np.array([i for i, path in enumerate(paths) if path in places], int)
        for paths in (rows, columns)
    )
    if len(row) and len(column):
        enrol = np.array([places[rows[i]] for i in row])
        test = np.array([places[columns[i]] for i in column])
        scores[np.ix_(row, column)] = cosine_scores(
            torch.stack(list(embeddings.values())),
            np.repeat(enrol, len(test)),
            np.tile(test, len(enrol)),
        ).reshape(len(enrol), len(test))
    return scores


def write_matrix(
    file: TextIO, rows: list[str], columns: list[str], scores: np.ndarray
) -> None:
    """Write scores as CSV; a pair without one has an empty cell.

    Arguments
    ---------
    file : TextIO
        Opened with `newline=""`.
    rows : list[str]
        Names, which make the first column.
    columns : list[str]
        Names, which make the header.
    scores : np.ndarray
        (rows, columns).

    Example
    -------
    >>> import sys
    >>> scores = np.array([[0.25, np.nan]])
    >>> write_matrix(sys.stdout, ["a.wav"], ["b.wav", "c.wav"], scores)
    ,b.wav,c.wav
    a.wav,0.250000,
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["", *columns])
    for name, values in zip(rows, scores, strict=True):
        cells = ["" if np.isnan(x) else f"{x:.6f}" for x in values]
        writer.writerow([name, *cells])
