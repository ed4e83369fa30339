"""Error rates of every block of several trainings, on one trial list."""

import hashlib
from pathlib import Path

import torch
from block_embeddings import (
    BlockEmbeddings,
    TrainedBlocks,
    embed_blocks,
    load_heads_beside,
    load_trained_blocks,
)
from embedding_cache import EmbeddingCache, take_or_compute
from evaluation import (
    locate_utterances,
    make_loader,
    trial_origin,
    trial_speakers,
)
from extraction import score_trials
from processes import gather_from_all
from progress import show_progress
from report import git_commit
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor, nn
from voxceleb1_layout import find_utterances
from whole_utterances import choose_batch_seconds

from custom_modules.degradation import Degradation
from custom_modules.distributed import process_rank
from custom_modules.metrics import equal_error_rate, speaker_bootstrap
from custom_modules.scoring import Trials, read_trials, speaker_id


def measure_blocks(
    embeddings: BlockEmbeddings, trials: Trials, num_resamples: int, seed: int
) -> dict:
    """Error rates of every block's embedding and of the final one.

    Arguments
    ---------
    embeddings : BlockEmbeddings
        Of all utterances of the trials.
    trials : Trials
        The trials, scored by the cosine.
    num_resamples, seed : int
        Of the bootstrap over speakers.

    Returns
    -------
    rates : dict
        "statistics" and "heads", lists with an entry for each block, and
        "final": eer_percent, its 95 % interval and, of a block, its number.
    """

    enrol = [speaker_id(name) for name in trials.enrol]
    test = [speaker_id(name) for name in trials.test]

    def measure(vectors: dict[str, Tensor]) -> dict:
        scores = score_trials(trials, vectors)
        eer, _ = equal_error_rate(scores, trials.is_target)
        interval = speaker_bootstrap(
            scores,
            trials.is_target,
            enrol,
            test,
            equal_error_rate,
            num_resamples,
            seed,
        )
        return {
            "eer_percent": round(100 * float(eer), 4),
            "eer_interval_percent": [
                round(100 * float(x), 4) for x in interval
            ],
        }

    def measure_all(blocks: dict[int, dict[str, Tensor]]) -> list[dict]:
        return [
            {"block": number, **measure(vectors)}
            for number, vectors in sorted(blocks.items())
        ]

    return {
        "statistics": measure_all(embeddings.statistics),
        "heads": measure_all(embeddings.heads),
        "final": measure(embeddings.final),
    }


def measure_trainings(
    run_folders: dict[str, str],
    data_folder: str,
    trial_list: Path,
    device: str,
    *,
    batch_seconds: float | None,
    num_workers: int,
    num_resamples: int,
    seed: int,
) -> dict:
    """Measure every block of trainings, none of them on its own speakers.

    Arguments
    ---------
    run_folders : dict[str, str]
        Output folder of each training, by its label.
    data_folder : str
        VoxCeleb1, with the trials' utterances.
    trial_list : Path
        The trials.
    device : str
        "cpu" or "cuda:0".
    batch_seconds : float | None
        Speech of a batch in s, see `choose_batch_seconds`.
    num_workers : int
        Processes that read.
    num_resamples, seed : int
        Of the bootstrap over speakers.

    Returns
    -------
    rates : dict
        "models", a list of what `measure_blocks` gives with label, model and
        training; and on what trials, by what machine and commit. Ready for
        JSON.

    Raises
    ------
    ValueError
        Names what is missing or damaged, and the training that saw a speaker
        of the trials.
    """
    trials = read_trials(trial_list)
    utterances = locate_utterances(
        trials, trial_list, find_utterances(data_folder)
    )
    speakers = trial_speakers(trials)
    trained = [
        load_trained_blocks(folder, device) for folder in run_folders.values()
    ]
    for folder, one in zip(run_folders.values(), trained, strict=True):
        overlap = sorted(speakers & set(one.training["speakers"]))
        if overlap:
            raise ValueError(
                f"{trial_list}: {folder} was trained on {len(overlap)} of its "
                f"speakers, such as {overlap[0]}: give --trials of others"
            )
    models = []
    for (label, folder), one in zip(run_folders.items(), trained, strict=True):
        loader = make_loader(
            utterances,
            f"files of {trial_list}",
            one.model.hparams.sample_rate,
            choose_batch_seconds(batch_seconds, device),
            num_workers,
        )
        progress = show_progress(loader, label, "batch")
        rates = measure_blocks(
            embed_blocks(progress, one), trials, num_resamples, seed
        )
        kept = {k: v for k, v in one.training.items() if k != "speakers"}
        models.append(
            {"label": label, "model": folder, **rates, "training": kept}
        )
    return {
        **trial_origin(trial_list, len(utterances), device),
        "num_trials": len(trials.is_target),
        "num_target_trials": int(trials.is_target.sum()),
        "num_speakers": len(speakers),
        "seed": seed,
        "num_resamples": num_resamples,
        "commit": git_commit(),
        "models": models,
    }


def measure_model_blocks(
    model: SpeakerRecognition,
    training: dict,
    model_folder: str | Path,
    trials: Trials,
    utterances: dict[str, str],
    *,
    batch_seconds: float | None,
    num_workers: int,
    num_resamples: int,
    seed: int,
    degradation: Degradation | None = None,
    cache: EmbeddingCache | None = None,
) -> dict:
    """Measure every block of a model that is loaded, for its report.

    To be called in all processes: each embeds its share.

    Arguments
    ---------
    model : SpeakerRecognition
        Any that `load_model` gives.
    training : dict
        Its training.json.
    model_folder : str | Path
        With its training's folder around it, the trained heads of the blocks
        are measured too.
    trials : Trials
        The trials, scored by the plain cosine.
    utterances : dict[str, str]
        File of each utterance of the trials.
    batch_seconds : float | None
        Speech of a batch in s, see `choose_batch_seconds`.
    num_workers : int
        Processes that read.
    num_resamples, seed : int
        Of the bootstrap over speakers.
    degradation : Degradation | None
        What is done to each utterance; None: as recorded.
    cache : EmbeddingCache | None
        The model's: beside it are the blocks of files as recorded.

    Returns
    -------
    rates : dict
        What `measure_blocks` gives, and "heads_left_out", why there are no
        heads, or None; of a model that is not made of blocks "left_out", why,
        alone. Empty in all processes but the main one.
    """
    embedding_model = model.mods["embedding_model"]
    encoder = getattr(embedding_model, "encoder", embedding_model)
    sizes = [2 * size for size in getattr(encoder, "output_sizes", ())]
    if len(sizes) < 2:
        name = type(encoder).__name__
        return {"left_out": f"{name} has no outputs of several blocks"}
    heads, reason = load_heads_beside(
        model_folder, training.get("epoch"), model.device
    )
    if degradation is not None:
        cache = None
    if cache is not None:
        cache = cache.beside(f"blocks-{_digest_heads(heads)}")

    def compute(missing: dict[str, str]) -> dict[str, Tensor]:
        loader = make_loader(
            missing,
            "files of the trials",
            model.hparams.sample_rate,
            choose_batch_seconds(batch_seconds, model.device),
            num_workers,
            degradation,
        )
        is_main = process_rank() == 0
        progress = show_progress(loader, "Blocks", "batch", is_wanted=is_main)
        found = embed_blocks(progress, TrainedBlocks(model, heads, training))
        return gather_from_all(join_blocks(found))

    vectors = take_or_compute(utterances, cache, compute)
    if process_rank() > 0:
        return {}
    head_blocks = [] if heads is None else heads.blocks
    found = split_blocks(vectors, sizes, head_blocks)
    rates = measure_blocks(found, trials, num_resamples, seed)
    return {**rates, "heads_left_out": reason}


def join_blocks(found: BlockEmbeddings) -> dict[str, Tensor]:
    """All embeddings of each utterance as one vector, for `split_blocks`.

    Example
    -------
    >>> one, two = torch.tensor([1.0]), torch.tensor([2.0, 3.0])
    >>> found = BlockEmbeddings({"a": one}, {1: {"a": two}}, {})
    >>> join_blocks(found)["a"]
    tensor([2., 3., 1.])
    >>> split_blocks(join_blocks(found), [2], []).final["a"]
    tensor([1.])
    """
    parts = [x for _, x in sorted(found.statistics.items())]
    parts += [x for _, x in sorted(found.heads.items())]
    parts.append(found.final)
    return {
        utt_id: torch.cat([part[utt_id] for part in parts])
        for utt_id in found.final
    }


def split_blocks(
    vectors: dict[str, Tensor], sizes: list[int], head_blocks: list[int]
) -> BlockEmbeddings:
    """Undo `join_blocks`.

    Arguments
    ---------
    vectors : dict[str, Tensor]
        Of each utterance: every block's statistics, every head's embedding,
        the final embedding.
    sizes : list[int]
        Of the blocks' statistics.
    head_blocks : list[int]
        Blocks, from 0, with a head.

    Returns
    -------
    found : BlockEmbeddings
        As `embed_blocks` gives them.
    """
    found = BlockEmbeddings({}, {}, {})
    for utt_id, vector in vectors.items():
        # Heads and final embedding are of one size.
        emb_dim = (len(vector) - sum(sizes)) // (len(head_blocks) + 1)
        parts = vector.split([*sizes, *[emb_dim] * (len(head_blocks) + 1)])
        for number in range(1, len(sizes) + 1):
            part = parts[number - 1]
            found.statistics.setdefault(number, {})[utt_id] = part
        for block, part in zip(
            sorted(head_blocks), parts[len(sizes) : -1], strict=True
        ):
            found.heads.setdefault(block + 1, {})[utt_id] = part
        found.final[utt_id] = parts[-1]
    return found


def _digest_heads(heads: nn.Module | None) -> str:
    """Name the parameters of heads; of none, "none"."""
    if heads is None:
        return "none"
    digest = hashlib.sha256(str(list(heads.blocks)).encode())
    for name, value in sorted(heads.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
