"""Waveforms to frames, to Baum-Welch statistics, to i-vectors."""

from collections.abc import Iterable, Iterator

import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor

from custom_modules.cepstra import VoicedCepstra
from custom_modules.ivector import TotalVariability
from custom_modules.ubm import DiagonalGMM, Statistics


def draw_frames(
    loader: Iterable[PaddedBatch],
    features: VoicedCepstra,
    frames_per_utterance: int,
    generator: torch.Generator,
    device: str,
) -> Tensor:
    """Draw voiced frames of every utterance, without replacement.

    Which ones depends on the generator and on how the loader makes batches.

    Arguments
    ---------
    loader : Iterable[PaddedBatch]
        With id and sig (batch, samples).
    features : VoicedCepstra
        On the device.
    frames_per_utterance : int
        How many; all of an utterance that has fewer.
    generator : torch.Generator
        On the CPU.
    device : str
        That computes.

    Returns
    -------
    frames : Tensor
        (frames, features) on the device.
    """
    frames = []
    for _, feats, voiced in _featured(loader, features, device):
        order = torch.rand(voiced.shape, generator=generator).to(device)
        order = order.masked_fill(~voiced, -1.0)  # voiced frames first
        size = min(frames_per_utterance, order.shape[1])
        values, places = order.topk(size, dim=1)
        rows = torch.arange(len(feats), device=device).unsqueeze(1)
        frames.append(feats[rows, places][values >= 0])
    return torch.cat(frames)


def collect_statistics(
    loader: Iterable[PaddedBatch],
    features: VoicedCepstra,
    ubm: DiagonalGMM,
    device: str,
) -> Statistics:
    """Baum-Welch statistics of all utterances, in the loader's order."""
    batches = [
        ubm.statistics(feats, voiced)
        for _, feats, voiced in _featured(loader, features, device)
    ]
    return Statistics(
        *(torch.cat(parts) for parts in zip(*batches, strict=True))
    )


def extract_ivectors(
    loader: Iterable[PaddedBatch],
    features: VoicedCepstra,
    ubm: DiagonalGMM,
    total_variability: TotalVariability,
    device: str,
) -> dict[str, Tensor]:
    """The i-vector (ivector_size,) of every utterance, on the CPU."""
    ivectors = {}
    whitened = total_variability.whiten()
    for utt_ids, feats, voiced in _featured(loader, features, device):
        statistics = ubm.statistics(feats, voiced)
        rows = total_variability(*statistics, whitened).cpu()
        ivectors |= dict(zip(utt_ids, rows, strict=True))
    return ivectors


def _featured(
    loader: Iterable[PaddedBatch], features: VoicedCepstra, device: str
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Names, features and voiced frames of each batch."""
    for batch in loader:
        wavs, lens = batch.sig
        feats, voiced = features(wavs.to(device), lens.to(device))
        is_heard = voiced.any(dim=1).tolist()
        silent = [i for i, ok in zip(batch.id, is_heard, strict=True) if not ok]
        if silent:
            raise ValueError(
                f"{', '.join(silent)}: no voiced frame. Listen to it: remove "
                "it if it is silent, else lower --vad_floor"
            )
        yield batch.id, feats, voiced
