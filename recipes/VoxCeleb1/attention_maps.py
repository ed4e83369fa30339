"""Where a model's pooling attends to, in one utterance."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from extraction import embed_batch, load_model
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.inference.speaker import SpeakerRecognition
from torch import nn

from custom_modules.audio import read_audio


class AttentionMap(NamedTuple):
    """Attention weights over time, and the features they weigh.

    Arguments
    ---------
    weights : np.ndarray
        (frames, heads), of the pooling; each head's sum to 1. Attentive
        statistics have a head for each channel.
    frame_edges : np.ndarray
        (frames + 1,) in s: frame i lasts from entry i to i + 1.
    feats : np.ndarray
        (feature frames, n_mels) in dB, before normalisation.
    band_centres : np.ndarray
        (n_mels,) in Hz.
    """

    weights: np.ndarray
    frame_edges: np.ndarray
    feats: np.ndarray
    band_centres: np.ndarray


def load_attentive_model(
    folder: str | Path, device: str
) -> tuple[SpeakerRecognition, nn.Module]:
    """Load a model folder whose pooling tells its attention weights.

    Arguments
    ---------
    folder : str | Path
        What training wrote to its `model_folder`.
    device : str
        "cpu" or "cuda:0".

    Returns
    -------
    model : SpeakerRecognition
        The model.
    attention : nn.Module
        The part of its embedding head with `attention_weights(x, lengths)`.

    Raises
    ------
    ValueError
        Names the folder and the pooling that has no such method, or more
        than one part that has.
    """
    model, _ = load_model(folder, "hyperparams.yaml", {"device": device})
    found = find_attention(model)
    if len(found) != 1:
        head = model.mods["embedding_model"].embedding_head
        pooling = head.pooling if hasattr(head, "pooling") else head
        raise ValueError(
            f"{Path(folder).absolute()}: {len(found)} parts of its pooling "
            f"({type(pooling).__name__}) have attention weights of frames; "
            "give a model with one, such as SelfMultiHeadAttentionPooling or "
            "AttentiveStatisticsPooling"
        )
    return model, found[0]


def find_attention(model: SpeakerRecognition) -> list[nn.Module]:
    """Find the parts of a model's embedding head that weigh its frames.

    Arguments
    ---------
    model : SpeakerRecognition
        Of `load_model`.

    Returns
    -------
    found : list[nn.Module]
        Each with `attention_weights(x, lengths)`; none of a model whose
        embedding model has no `embedding_head`.
    """
    embedding_model = model.mods["embedding_model"]
    head = getattr(embedding_model, "embedding_head", nn.Identity())
    return [part for part in head.modules() if is_attentive(part)]


def is_attentive(module: nn.Module) -> bool:
    """Whether a module tells one weight for each frame and head.

    Example
    -------
    >>> from custom_modules.pooling import SelfMultiHeadAttentionPooling
    >>> is_attentive(SelfMultiHeadAttentionPooling(4, num_heads=2))
    True
    >>> is_attentive(nn.Linear(4, 2))
    False
    """
    return hasattr(module, "attention_weights")


@torch.no_grad()
def map_attention(
    model: SpeakerRecognition, attention: nn.Module, path: str | Path
) -> AttentionMap:
    """Embed an utterance as verification does, and look inside.

    Arguments
    ---------
    model : SpeakerRecognition
        The model.
    attention : nn.Module
        Of `find_attention`.
    path : str | Path
        Audio file.

    Returns
    -------
    attention_map : AttentionMap
        On the CPU.

    Raises
    ------
    ValueError
        Names the file: missing, unreadable, or too short for the encoder.
    """
    sample_rate = model.hparams.sample_rate
    wav = read_audio(path, sample_rate)
    batch = PaddedBatch([{"id": str(path), "sig": wav}]).to(model.device)
    features = model.mods["compute_features"]
    seen = {}
    hooks = [
        attention.register_forward_hook(
            lambda _, inputs, output: seen.update(inputs=inputs)
        ),
        features.register_forward_hook(
            lambda _, inputs, output: seen.update(feats=output.clone())
        ),
    ]
    try:
        embed_batch(batch, model.mods)
    finally:
        for hook in hooks:
            hook.remove()
    weights = attention.attention_weights(*seen["inputs"])
    weights = weights.squeeze(0).float().cpu().numpy()  # (frames, heads)
    feats = seen["feats"].squeeze(0).float().cpu().numpy()
    hop = features.compute_STFT.hop_length / sample_rate  # s
    # Each frame stands for as many of the features' as fit in whole: the last
    # few that a stride of 2, 4 or 8 leaves over belong to none.
    step = hop * (len(feats) // len(weights))
    return AttentionMap(
        weights,
        step * np.arange(len(weights) + 1),
        feats,
        features.compute_fbanks.f_central.numpy(force=True),
    )
