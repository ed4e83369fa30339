"""Error rates of every block of several trainings, on one trial list."""

from pathlib import Path

from block_embeddings import BlockEmbeddings, embed_blocks, load_trained_blocks
from evaluation import (
    locate_utterances,
    make_loader,
    trial_origin,
    trial_speakers,
)
from extraction import score_trials
from progress import show_progress
from report import git_commit, make_report
from torch import Tensor
from voxceleb1_layout import find_utterances
from whole_utterances import choose_batch_seconds

from custom_modules.scoring import Trials, read_trials


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

    def measure(vectors: dict[str, Tensor]) -> dict:
        scores = score_trials(trials, vectors)
        report = make_report(trials, scores, num_resamples, seed, {})
        keys = ("eer_percent", "eer_interval_percent")
        return {key: report[key] for key in keys}

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
