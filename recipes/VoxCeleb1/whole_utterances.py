"""Whole utterances in batches of similar length, for evaluation."""

from pathlib import Path

from loader_workers import leave_to_main
from manifest import Manifest
from processes import own_share
from speechbrain.dataio.batch import PaddedBatch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from custom_modules.audio import read_audio
from custom_modules.degradation import Degradation

GPU_BATCH_SECONDS = 160.0
CPU_BATCH_SECONDS = 15.0


class UtteranceDataset(Dataset):
    """Whole utterances.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    sample_rate : int
        Hz.
    degradation : Degradation | None
        What is done to each; None: as recorded.
    """

    def __init__(
        self,
        utterances: dict[str, str],
        sample_rate: int,
        degradation: Degradation | None = None,
    ):
        self.utterances = list(utterances.items())
        self.sample_rate = sample_rate
        self.degradation = degradation

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> dict[str, str | Tensor]:
        """id and sig (samples,)."""
        utt_id, path = self.utterances[index]
        wav = read_audio(path, self.sample_rate)
        if self.degradation is not None:
            wav = self.degradation(wav, utt_id)
        return {"id": utt_id, "sig": wav}


def choose_batch_seconds(given: float | None, device: str) -> float:
    """Speech of a batch of whole utterances, in s.

    Arguments
    ---------
    given : float | None
        Positive; None chooses by the device: on the CPU small batches, whose
        numbers stay in its caches, for larger ones take up to twice the time.
    device : str
        "cpu" or "cuda:0".

    Returns
    -------
    batch_seconds : float
        For `make_evaluation_loader`.

    Example
    -------
    >>> choose_batch_seconds(None, "cuda:0"), choose_batch_seconds(40, "cpu")
    (160.0, 40.0)
    """
    if given is None:
        return CPU_BATCH_SECONDS if device == "cpu" else GPU_BATCH_SECONDS
    if not given > 0:
        raise ValueError(
            f"the speech of a batch ({given} s) must be positive, or null to "
            "have it chosen"
        )
    return float(given)


def batch_by_length(
    durations: dict[str, float], batch_seconds: float
) -> list[list[str]]:
    """Utterances of similar length in batches, the longest first.

    Arguments
    ---------
    durations : dict[str, float]
        Length of each in s.
    batch_seconds : float
        Of a batch, padding included; a longer utterance stands alone.

    Returns
    -------
    batches : list[list[str]]
        Each utterance once.

    Example
    -------
    >>> batch_by_length({"a": 2.0, "b": 9.0, "c": 3.0}, batch_seconds=6.0)
    [['b'], ['c', 'a']]
    """
    left = sorted(durations, key=lambda utt_id: (-durations[utt_id], utt_id))
    batches = []
    while left:
        batch_size = max(1, int(batch_seconds / durations[left[0]]))
        batches.append(left[:batch_size])
        left = left[batch_size:]
    return batches


def make_evaluation_loader(
    utterances: dict[str, str],
    durations: dict[str, float],
    batch_seconds: float,
    sample_rate: int,
    num_workers: int,
    degradation: Degradation | None = None,
) -> DataLoader:
    """Whole utterances, each once, the longest batch first.

    Sorting by length keeps padding small; the longest first, an utterance too
    long for the memory is found at once. Of several processes, each gets its
    share of the batches: an embedding does not depend on how many there are.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    durations : dict[str, float]
        Length of each in s, as recorded, for sorting.
    batch_seconds : float
        Speech of a batch in s, padding included; an utterance that is longer
        makes a batch of its own. Attention's memory grows with the square of
        the length, so a number of utterances would be no bound.
    sample_rate : int
        Hz.
    num_workers : int
        Processes that read.
    degradation : Degradation | None
        What is done to each; None: as recorded.

    Returns
    -------
    loader : DataLoader
        Batches with id and sig (batch, samples).
    """
    if degradation is not None:
        durations = {k: degradation.shorten(s) for k, s in durations.items()}
    places = {utt_id: place for place, utt_id in enumerate(utterances)}
    batches = [
        [places[utt_id] for utt_id in batch]
        for batch in batch_by_length(
            {utt_id: durations[utt_id] for utt_id in utterances}, batch_seconds
        )
    ]
    return DataLoader(
        UtteranceDataset(utterances, sample_rate, degradation),
        batch_sampler=own_share(batches),
        num_workers=num_workers,
        collate_fn=PaddedBatch,
        worker_init_fn=leave_to_main,
        generator=Generator(),
    )


def read_manifest(
    manifest: Path, data_folder: Path
) -> tuple[dict[str, str], dict[str, float]]:
    """Files and durations of a manifest, for `make_evaluation_loader`.

    Arguments
    ---------
    manifest : Path
        CSV of `voxceleb1_prepare`.
    data_folder : Path
        What `$data_root` stands for.

    Returns
    -------
    utterances : dict[str, str]
        File of each utterance.
    durations : dict[str, float]
        Length of each in s.
    """
    rows = list(Manifest(manifest, data_folder))
    utterances = {row.utt_id: row.wav for row in rows}
    durations = {row.utt_id: row.duration for row in rows}
    return utterances, durations
