"""Embeddings that were computed before, by the content of their files.

One .npz for each model. A model is the parameters and YAML files of its folder,
the code that embeds, the releases of torch, torchaudio and SpeechBrain, and the
kind of device; a file is what is in it, wherever it lies.
"""

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
import torchaudio
from processes import run_on_main
from torch import Tensor
from whole_files import replacing

import custom_modules
from custom_modules.checksums import file_digest
from custom_modules.packed import open_packed

logger = logging.getLogger(__name__)

NUM_READERS = 4  # threads; hashing is bound by the disk
DAMAGES = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
CODE = ("extraction.py", "whole_utterances.py")  # beside custom_modules
MODEL_FILES = ("*.yaml", "*.ckpt", "*.pt", "*.safetensors")


def model_key(model_folder: str | Path, hparams_file: str, device: str) -> str:
    """Name a model by all that its embeddings depend on.

    Arguments
    ---------
    model_folder : str | Path
        With the YAML file, and parameters where it was trained.
    hparams_file : str
        The YAML file in it.
    device : str
        "cpu" or "cuda:0": their roundings differ.

    Returns
    -------
    key : str
        40 hexadecimal digits.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "model.yaml").write_text("sample_rate: 16000")
    >>> cpu = model_key(folder, "model.yaml", "cpu")
    >>> len(cpu), cpu == model_key(folder, "model.yaml", "cuda:0")
    (40, False)
    """
    folder = Path(model_folder)
    code = sorted(Path(custom_modules.__file__).parent.glob("*.py"))
    code += [Path(__file__).with_name(name) for name in CODE]
    files = [x for pattern in MODEL_FILES for x in sorted(folder.glob(pattern))]
    parts = [device.partition(":")[0], hparams_file]
    parts += [package.__version__ for package in (torch, torchaudio, sb)]
    parts += [path.name + file_digest(path) for path in (*code, *files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def open_cache(hparams: dict, device: str) -> "EmbeddingCache | None":
    """The cache that verify.yaml asks for.

    Arguments
    ---------
    hparams : dict
        model_folder, model_yaml and cache_folder.
    device : str
        That runs the model.

    Returns
    -------
    cache : EmbeddingCache | None
        None where `cache_folder` is.

    Example
    -------
    >>> open_cache({"cache_folder": None}, "cpu") is None
    True
    """
    if hparams["cache_folder"] is None:
        return None
    key = run_on_main(
        model_key, hparams["model_folder"], hparams["model_yaml"], device
    )
    return EmbeddingCache(hparams["cache_folder"], key)


def digest_files(utterances: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each utterance's file, of those that can be opened.

    Of a packed one, of its samples.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> _ = path.write_text("a")
    >>> files = {"a": str(path), "b": "nowhere.wav"}
    >>> {utt_id: x[:8] for utt_id, x in digest_files(files).items()}
    {'a': 'ca978112'}
    """

    def digest(path: str) -> str | None:
        try:
            packed = open_packed(path)
            return file_digest(path) if packed is None else packed.digest()
        except (OSError, ValueError):  # named by what reads its audio
            return None

    with ThreadPoolExecutor(NUM_READERS) as pool:
        digests = list(pool.map(digest, utterances.values()))
    pairs = zip(utterances, digests, strict=True)
    return {utt_id: found for utt_id, found in pairs if found is not None}


class EmbeddingCache:
    """A model's embeddings in a file, by the digests of audio files.

    Arguments
    ---------
    folder : str | Path
        Made when something is stored.
    key : str
        Of `model_key`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> cache = EmbeddingCache(folder, "0123")
    >>> digest = 64 * "0"
    >>> cache.store({digest: torch.tensor([1.0, 2.0])})
    >>> EmbeddingCache(folder, "0123").load()[digest]
    tensor([1., 2.])
    """

    def __init__(self, folder: str | Path, key: str):
        # The folder may be NEW/../embeddings, and NEW not there yet.
        self.path = Path(os.path.abspath(folder)) / f"{key}.npz"

    def beside(self, name: str) -> "EmbeddingCache":
        """Another one of the same model, for something else of the files."""
        return EmbeddingCache(self.path.parent, f"{self.path.stem}-{name}")

    def load(self) -> dict[str, Tensor]:
        """Read all of it.

        Returns
        -------
        embeddings : dict[str, Tensor]
            (emb_dim,) by digest; empty where there is no file yet.

        Raises
        ------
        ValueError
            Names a damaged file.
        """
        if not self.path.exists():
            return {}
        try:
            with np.load(self.path) as stored:
                digests = stored["digests"].astype(np.uint8)
                embeddings = torch.from_numpy(stored["embeddings"])
            names = [row.tobytes().hex() for row in digests]
            return dict(zip(names, embeddings, strict=True))
        except DAMAGES as error:
            raise ValueError(
                f"{self.path.absolute()}: damaged ({type(error).__name__}); "
                "delete it, and its embeddings are computed anew"
            ) from error

    def store(self, embeddings: dict[str, Tensor]) -> None:
        """Add to the file, whole or not at all.

        Arguments
        ---------
        embeddings : dict[str, Tensor]
            (emb_dim,) by digest.
        """
        everything = {**self.load(), **embeddings}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        digests = [list(bytes.fromhex(digest)) for digest in everything]
        with replacing(self.path) as partial, open(partial, "wb") as file:
            np.savez(
                file,
                digests=np.array(digests, np.uint8),
                embeddings=torch.stack(list(everything.values())).numpy(),
            )

    def find(self, utterances: dict[str, str]) -> tuple[dict, dict]:
        """Look utterances up.

        Arguments
        ---------
        utterances : dict[str, str]
            File of each.

        Returns
        -------
        known : dict[str, Tensor]
            (emb_dim,) of each that is stored.
        digests : dict[str, str]
            Of the files of the others, for `store`.
        """
        stored = self.load()
        digests = digest_files(utterances)
        known = {
            utt_id: stored[digest].clone()
            for utt_id, digest in digests.items()
            if digest in stored
        }
        logger.info(
            f"{len(known)} of {len(utterances)} embeddings are in {self.path}"
        )
        return known, {k: v for k, v in digests.items() if k not in known}


def take_or_compute(
    utterances: dict[str, str],
    cache: EmbeddingCache | None,
    compute: Callable[[dict[str, str]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Take what a cache has, compute the rest, and store that.

    To be called in all processes; the main one reads and writes.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each.
    cache : EmbeddingCache | None
        None: all is computed, and nothing stored.
    compute : Callable
        From the files of some utterances to the vectors of all of them, in
        each process; not called where there is nothing to compute.

    Returns
    -------
    vectors : dict[str, Tensor]
        Of each utterance, in their order.

    Example
    -------
    >>> take_or_compute({"a": "a.wav"}, None, lambda files: dict(files))
    {'a': 'a.wav'}
    """
    known, digests = {}, {}
    if cache is not None:
        known, digests = run_on_main(cache.find, utterances)
    missing = {k: x for k, x in utterances.items() if k not in known}
    computed = compute(missing) if missing else {}
    stored = {digests[k]: x for k, x in computed.items() if k in digests}
    if stored:
        run_on_main(cache.store, stored)
    everything = {**known, **computed}
    return {utt_id: everything[utt_id] for utt_id in utterances}
