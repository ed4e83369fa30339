"""Settings of a training that do not go together, refused before it starts."""

import torch
from speechbrain.utils.run_opts import RunOptions
from torch import nn
from training_loggers import MoreLogger

from custom_modules.losses import Objective


def check_loggers(more_loggers: list[MoreLogger]) -> None:
    """Refuse what is no list, and loggers whose package is missing.

    Example
    -------
    >>> check_loggers([])
    """
    if not isinstance(more_loggers, list):
        raise ValueError(
            f"more_loggers ({more_loggers!r}) must be a list, as "
            "--more_loggers='[!ref <tensorboard>]'; [] for none"
        )
    for more in more_loggers:
        more.check()


def check_classifier(
    classifier: nn.Module, emb_dim: int, objective: Objective
) -> None:
    """Refuse AM-Softmax on logits, and plain softmax on cosines."""
    with torch.no_grad():
        outputs = classifier(torch.full((1, emb_dim), 1e6))
    gives_cosines = bool(outputs.abs().max() < 1.001)
    if objective.needs_cosines and not gives_cosines:
        raise ValueError(
            "the objective has AM-Softmax, which needs cosines, and the "
            "classifier gives logits: set the classifier to one that gives "
            "cosines, as --classifier='!ref <cosine_classifier>'"
        )
    if objective.needs_logits and gives_cosines:
        raise ValueError(
            "the objective has softmax, which needs logits, and the "
            "classifier gives cosines: set the classifier to a linear one, as "
            "--classifier='!ref <linear_classifier>'"
        )


def check_compilation(
    run_opts: RunOptions, sentence_len: float | list[float]
) -> None:
    """Refuse to compile the model anew for many lengths of the crops."""
    is_one_length = not isinstance(sentence_len, list) or (
        len(set(sentence_len)) == 1
    )
    is_dynamic = run_opts.compile_using_dynamic_shape_tracing
    if run_opts.compile and not (is_one_length or is_dynamic):
        raise ValueError(
            f"--compile with crops of {sentence_len} s would compile the model "
            "for every length: give one, as --sentence_len=3.0, or add "
            "--compile_using_dynamic_shape_tracing"
        )
