"""Error rates of every block of several trainings, on one trial list."""

import hashlib
from pathlib import Path

from audio_files import inspect_many
from block_embeddings import BlockEmbeddings, embed_blocks, load_trained_blocks
from dataio import make_evaluation_loader
from extraction import score_trials
from report import git_commit, machine, make_report
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm
from verify import locate_utterances
from voxceleb1_layout import find_utterances

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
    batch_seconds: float,
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
    batch_seconds : float
        Speech of a batch in s.
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
    speakers = {speaker_id(name) for name in (*trials.enrol, *trials.test)}
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
            one.model.hparams.sample_rate,
            batch_seconds,
            num_workers,
        )
        progress = tqdm(loader, desc=label, unit="batch", disable=None)
        rates = measure_blocks(
            embed_blocks(progress, one), trials, num_resamples, seed
        )
        kept = {k: v for k, v in one.training.items() if k != "speakers"}
        models.append(
            {"label": label, "model": folder, **rates, "training": kept}
        )
    return {
        "trials": trial_list.name,
        "trials_sha256": hashlib.sha256(trial_list.read_bytes()).hexdigest(),
        "num_trials": len(trials.is_target),
        "num_target_trials": int(trials.is_target.sum()),
        "num_utterances": len(utterances),
        "num_speakers": len(speakers),
        "score_normalisation": "none",
        "seed": seed,
        "num_resamples": num_resamples,
        "machine": machine(device),
        "commit": git_commit(),
        "models": models,
    }


def make_loader(
    utterances: dict[str, Path],
    sample_rate: int,
    batch_seconds: float,
    num_workers: int,
) -> DataLoader:
    """Batches of utterances, whose files are looked into first."""
    infos, problems = inspect_many(list(utterances.values()), sample_rate)
    if problems:
        raise ValueError(
            f"{len(problems)} files cannot be used; repair them:\n  "
            + "\n  ".join(problems[:10])
        )
    durations = [info.num_samples / info.sample_rate for info in infos]
    return make_evaluation_loader(
        utterances,
        dict(zip(utterances, durations, strict=True)),
        batch_seconds,
        sample_rate,
        num_workers,
    )
