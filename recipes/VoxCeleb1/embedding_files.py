"""Embeddings of any list of audio files, as one .npz."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch
from augmentation_files import make_degradation
from embedding_cache import open_cache
from extraction import load_model
from processes import run_on_main
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor
from trial_sets import embed_files, read_trial_set
from voxceleb1_layout import find_trials, find_utterances
from whole_files import replacing

logger = logging.getLogger(__name__)


def read_audio_list(path: str | Path) -> dict[str, str]:
    """Read a text file with the path of an audio file in each line.

    Arguments
    ---------
    path : str | Path
        UTF-8 text; paths relative to the working directory.

    Returns
    -------
    files : dict[str, str]
        Each line once, by itself.

    Raises
    ------
    ValueError
        Names the list, and the first line whose file is missing.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "a.wav").touch()
    >>> _ = (folder / "list.txt").write_text(f"{folder / 'a.wav'}\\n")
    >>> [Path(name).name for name in read_audio_list(folder / "list.txt")]
    ['a.wav']
    """
    path = Path(path).absolute()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}); give a text file with the "
            "path of an audio file in each line"
        ) from error
    files = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if name and not Path(name).is_file():
            raise ValueError(
                f"{path}:{number}: there is no file {Path(name).absolute()}"
            )
        if name:
            files[name] = name
    if not files:
        raise ValueError(f"{path} is empty; give the path of an audio file")
    return files


def write_embeddings(path: str | Path, embeddings: dict[str, Tensor]) -> None:
    """Write embeddings as .npz, whole or not at all.

    Arguments
    ---------
    path : str | Path
        Of the file; its folder is made if missing.
    embeddings : dict[str, Tensor]
        (emb_dim,) of each name.

    Example
    -------
    >>> path = getfixture("tmp_path") / "embeddings.npz"
    >>> write_embeddings(path, {"a": torch.tensor([1.0, 2.0])})
    >>> with np.load(path) as arrays:
    ...     print(arrays["utt_ids"], arrays["embeddings"])
    ['a'] [[1. 2.]]
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial_file, open(partial_file, "wb") as file:
        np.savez(
            file,
            utt_ids=np.array(list(embeddings)),
            embeddings=torch.stack(list(embeddings.values())).numpy(),
        )


def extract(hparams: dict, run_opts: RunOptions) -> None:
    """Write the embeddings of `audio_list`, or of the trials' utterances.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    run_opts : RunOptions
        SpeechBrain's options.
    """
    model_files = hparams["model_folder"], hparams["model_yaml"]
    if hparams["audio_list"] is None:
        found = run_on_main(find_utterances, hparams["data_folder"])
        listed = run_on_main(
            find_trials,
            hparams["data_folder"],
            hparams["output_folder"],
            hparams["trials"],
        )
        files = read_trial_set(listed, found).utterances
    else:
        listed = hparams["audio_list"]
        files = read_audio_list(listed)
    model, _ = load_model(*model_files, run_opts)
    cache = open_cache(hparams, model.device)
    embeddings = embed_files(
        files,
        f"files of {listed}",
        model,
        hparams,
        cache,
        make_degradation(hparams, model.hparams.sample_rate),
    )
    write = partial(write_embeddings, hparams["extract_to"], embeddings)
    run_on_main(write)
    path = Path(hparams["extract_to"]).absolute()
    logger.info(f"{len(embeddings)} embeddings: {path}")
