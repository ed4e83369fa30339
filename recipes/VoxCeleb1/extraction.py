"""Waveforms to embeddings, for validation and for verification."""

import json
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from faults import explaining_memory
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.inference.speaker import SpeakerRecognition
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor, nn

from custom_modules.backends import CosineBackend, PLDABackend
from custom_modules.lengths import feature_lengths
from custom_modules.normalisation import CohortNormalisation
from custom_modules.scoring import Trials, index_utterances

Backend = CosineBackend | PLDABackend


def load_model(
    folder: str | Path, hparams_file: str, run_opts: RunOptions | None = None
) -> tuple[SpeakerRecognition, dict]:
    """Load a model folder by SpeechBrain's inference.

    Arguments
    ---------
    folder : str | Path
        What training wrote to its `model_folder`.
    hparams_file : str
        The YAML file in it.
    run_opts : RunOptions | None
        SpeechBrain's options, such as the device.

    Returns
    -------
    model : SpeakerRecognition
        Ready for `verify_files`.
    training : dict
        Its training.json: the speakers trained on, and what was trained how.

    Raises
    ------
    ValueError
        Says which file is missing or does not fit.
    """
    folder = Path(folder).absolute()
    names = [hparams_file, "training.json"]
    if hparams_file == "hyperparams.yaml":  # of a training, so with parameters
        names.append("embedding_model.ckpt")
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} is missing: give the model folder that "
                "training wrote, such as runs/mfcon/1986/model"
            )
    try:
        training = json.loads((folder / "training.json").read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{folder / 'training.json'} is damaged ({error}): export anew"
        ) from error
    model = SpeakerRecognition.from_hparams(
        source=str(folder),
        hparams_file=hparams_file,
        savedir=None,
        run_opts=run_opts,
    )
    return model, training


def embedding_size(model: SpeakerRecognition) -> int:
    """How many numbers a model's embeddings have, by that of a second."""
    wav = torch.randn(
        model.hparams.sample_rate, generator=torch.Generator().manual_seed(0)
    )
    batch = PaddedBatch([{"id": "noise", "sig": wav}]).to(model.device)
    with torch.no_grad():
        return len(embed_batch(batch, model.mods)["noise"])


def embed_batch(
    batch: PaddedBatch, modules: nn.ModuleDict | dict[str, nn.Module]
) -> dict[str, Tensor]:
    """Embed whole utterances, padded to the longest.

    Arguments
    ---------
    batch : PaddedBatch
        With id and sig (batch, samples).
    modules : nn.ModuleDict | dict[str, nn.Module]
        compute_features, mean_var_norm and embedding_model, as in SpeechBrain's
        inference.

    Returns
    -------
    embeddings : dict[str, Tensor]
        (emb_dim,) on the CPU, of each id.

    Raises
    ------
    ValueError
        Names the utterances whose embedding is not finite, a batch with one
        that is too short, and what was tried where memory did not suffice.
    """
    wavs, lens = batch.sig
    hop_length = modules["compute_features"].compute_STFT.hop_length
    lengths = feature_lengths(lens, wavs, hop_length)
    tried = (
        f"{len(batch)} whole utterances of up to {wavs.shape[1]} samples: "
        "lower --batch_seconds of verify.yaml, or --eval_batch_seconds of a "
        "training"
    )
    with explaining_memory(tried):
        feats = modules["compute_features"](wavs)
        feats = modules["mean_var_norm"](feats, lengths)
        try:
            embeddings = modules["embedding_model"](feats, lengths).squeeze(1)
        except ValueError as error:  # an utterance too short for the encoder
            raise ValueError(f"{', '.join(batch.id)}: {error}") from error
    embeddings = embeddings.float().cpu()
    finite = embeddings.isfinite().all(dim=1).tolist()
    wrong = [i for i, ok in zip(batch.id, finite, strict=True) if not ok]
    if wrong:
        raise ValueError(
            f"the embeddings of {', '.join(wrong)} are not finite: listen to "
            "these files, and look at the training log for a loss of NaN"
        )
    # Clones: a view would be pickled, between processes, with its whole batch.
    rows = [row.clone() for row in embeddings]
    return dict(zip(batch.id, rows, strict=True))


def embed_utterances(
    loader: Iterable[PaddedBatch],
    modules: nn.ModuleDict | dict[str, nn.Module],
    device: str,
) -> dict[str, Tensor]:
    """Embed all batches of a loader.

    On the CPU each core has a batch of its own, which is faster than all
    cores on one.

    Arguments
    ---------
    loader : Iterable[PaddedBatch]
        Batches with id and sig (batch, samples).
    modules : nn.ModuleDict | dict[str, nn.Module]
        As for `embed_batch`, in evaluation mode.
    device : str
        "cpu" or "cuda:0".

    Returns
    -------
    embeddings : dict[str, Tensor]
        (emb_dim,) on the CPU, of each id.

    Raises
    ------
    ValueError
        As `embed_batch`.
    """

    @torch.no_grad()  # of the calling thread alone
    def embed(batch: PaddedBatch) -> dict[str, Tensor]:
        return embed_batch(batch.to(device), modules)

    embeddings = {}
    if device != "cpu":
        for batch in loader:
            embeddings |= embed(batch)
        return embeddings
    num_threads = torch.get_num_threads()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(
        num_threads, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for batch in loader:
            waiting.append(pool.submit(embed, batch))
            if len(waiting) > 2 * num_threads:  # not all waveforms at once
                embeddings |= waiting.popleft().result()
        for future in waiting:
            embeddings |= future.result()
    return embeddings


def score_trials(
    trials: Trials,
    embeddings: dict[str, Tensor],
    cohort: Tensor | None = None,
    normalisation: CohortNormalisation | None = None,
    mean: Tensor | None = None,
    backend: Backend | None = None,
) -> np.ndarray:
    """Score trials, centred and normalised where asked for.

    Arguments
    ---------
    trials : Trials
        Of utterances that all have an embedding.
    embeddings : dict[str, Tensor]
        (emb_dim,) of each utterance.
    cohort : Tensor | None
        (members, emb_dim), for the normalisation.
    normalisation : CohortNormalisation | None
        None leaves the scores as they are.
    mean : Tensor | None
        (emb_dim,), subtracted from the embeddings first; the cohort, of
        `cohort_matrix`, is centred already.
    backend : Backend | None
        Fitted, one of `custom_modules.backends`; None is the cosine.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,); cosines are in [-1, 1].
    """
    index = index_utterances(trials)
    matrix = torch.stack([embeddings[utt_id] for utt_id in index.utt_ids])
    if mean is not None:
        matrix = matrix - mean
    backend = backend or CosineBackend()
    scores = backend.score(matrix, index.enrol, index.test)
    if normalisation is None:
        return scores
    return normalisation(
        scores, index, matrix, cohort, backend.cohort_statistics
    )
