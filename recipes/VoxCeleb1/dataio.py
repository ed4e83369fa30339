"""Manifest row to tensors, for training and for evaluation.

Training reads random crops by seeking, evaluation whole utterances sorted by
length. What is random depends on seed, epoch and utterance alone.
"""

from pathlib import Path

import numpy as np
import torch
from manifest import Manifest
from processes import own_share
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from custom_modules.audio import read_audio
from custom_modules.augmentation import AugmentationSource, utterance_generator
from custom_modules.samplers import Item

LENGTH_STEP = 0.1  # s
GPU_BATCH_SECONDS = 160.0
CPU_BATCH_SECONDS = 15.0
# What a training step needs on its device; the others steer it.
DEVICE_KEYS = ["sig", "spk_id_encoded", "material", "snr"]


class CropLengths:
    """Length of the crops: fixed, or drawn for each global batch.

    Arguments
    ---------
    sentence_len : float | list[float]
        Length in s, or the shortest and the longest, between which the length
        of a batch is drawn uniformly, in steps of 0.1 s: for every shape that
        is new, convolutions are prepared anew.
    sample_rate : int
        Hz.
    seed : int
        Of the draws, together with epoch and batch.

    Example
    -------
    >>> lengths = CropLengths([2.0, 4.0], sample_rate=16000, seed=0)
    >>> 32000 <= lengths(epoch=1, batch=0) <= 64000
    True
    """

    def __init__(
        self, sentence_len: float | list[float], sample_rate: int, seed: int
    ):
        given = sentence_len
        if not isinstance(sentence_len, list):
            sentence_len = [sentence_len, sentence_len]
        if len(sentence_len) != 2 or not 0 < sentence_len[0] <= sentence_len[1]:
            raise ValueError(
                f"sentence_len ({given}) must be positive s, or a list of the "
                "shortest and the longest, as in [2.0, 4.0]"
            )
        self.shortest, self.longest = (
            round(length * sample_rate) for length in sentence_len
        )
        self.step = round(LENGTH_STEP * sample_rate)
        self.seed = seed

    def __call__(self, epoch: int, batch: int) -> int:
        """Samples of the crops of a batch."""
        num_steps = (self.longest - self.shortest) // self.step
        if not num_steps:
            return self.shortest
        generator = utterance_generator(
            self.seed, epoch, f"batch {batch}", "crop length"
        )
        drawn = int(generator.integers(num_steps + 1))
        return self.shortest + drawn * self.step


def random_crop(
    path: str,
    duration: float,
    num_samples: int,
    sample_rate: int,
    generator: np.random.Generator,
) -> Tensor:
    """Read a random crop by seeking.

    An utterance shorter than the crop is read whole and repeated to length,
    as in MFCon's published code.

    Arguments
    ---------
    path : str
        Audio file.
    duration : float
        Of the file, in s.
    num_samples : int
        Of the crop.
    sample_rate : int
        Hz of the result.
    generator : np.random.Generator
        Draws where the crop starts.

    Returns
    -------
    wav : Tensor
        (num_samples,).
    """
    available = int(duration * sample_rate)
    if available > num_samples:
        start = int(generator.integers(available - num_samples + 1))
        return read_audio(path, sample_rate, start, num_samples)
    wav = read_audio(path, sample_rate)
    return wav.repeat(-(-num_samples // len(wav)))[:num_samples]


class TrainingDataset(Dataset):
    """Crops, labels and the draws of their augmentation, by samplers' items.

    Arguments
    ---------
    manifest : Manifest
        Training utterances.
    sentence_len : float | list[float]
        Of `CropLengths`.
    sample_rate : int
        Hz.
    seed : int
        Of the crops.
    augmentation : AugmentationSource | None
        Draws noise or a room for each crop; None: no augmentation.

    Example
    -------
    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", np.zeros(16000), 16000)
    >>> path = folder / "train.csv"
    >>> _ = path.write_text("ID,duration,wav,spk_id\\na,1.0,$data_root/a.wav,s")
    >>> dataset = TrainingDataset(Manifest(path, folder), 0.5, 16000, 1, None)
    >>> dataset[Item(epoch=1, batch=0, index=0)]["sig"].shape, dataset.labels
    (torch.Size([8000]), {'s': 0})
    """

    def __init__(
        self,
        manifest: Manifest,
        sentence_len: float | list[float],
        sample_rate: int,
        seed: int,
        augmentation: AugmentationSource | None,
    ):
        self.manifest = manifest
        self.crop_lengths = CropLengths(sentence_len, sample_rate, seed)
        self.sample_rate = sample_rate
        self.seed = seed
        self.augmentation = augmentation
        owners = [row.spk_id for row in manifest]
        speakers = sorted(set(owners))
        self.labels = {speaker: label for label, speaker in enumerate(speakers)}
        self.utterance_labels = [self.labels[speaker] for speaker in owners]

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, item: Item) -> dict[str, str | Tensor]:
        """The item's id, sig (samples,) and spk_id_encoded (1,).

        With augmentation also material (samples,), snr, is_noise and
        material_length, each (1,).
        """
        row = self.manifest[item.index]
        num_samples = self.crop_lengths(item.epoch, item.batch)
        generator = utterance_generator(
            self.seed, item.epoch, row.utt_id, "crop"
        )
        example = {
            "id": row.utt_id,
            "sig": random_crop(
                row.wav, row.duration, num_samples, self.sample_rate, generator
            ),
            "spk_id_encoded": torch.tensor([self.labels[row.spk_id]]),
        }
        if self.augmentation is not None:
            draw = self.augmentation.draw(row.utt_id, item.epoch, num_samples)
            example |= {
                "material": draw.material,
                "snr": torch.tensor([draw.snr], dtype=torch.float32),
                "is_noise": torch.tensor([draw.is_noise]),
                "material_length": torch.tensor([draw.length]),
            }
        return example


def stack(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Values of one shape → batch and lengths of 1: nothing is padded.

    In a worker, torch's collate writes to shared memory at once.
    """
    return default_collate(values), torch.ones(len(values))


def collate(examples: list[dict[str, str | Tensor]]) -> PaddedBatch:
    """Batch of crops of one length."""
    return PaddedBatch(
        examples, device_prep_keys=DEVICE_KEYS, padding_func=stack
    )


def make_train_loader(
    dataset: TrainingDataset, sampler: Sampler, num_workers: int
) -> SaveableDataLoader:
    """Loader of whole batches, with a generator of its own.

    Without one, making the iterator would draw from torch's global state, and
    a resumed training would differ from an uninterrupted one.
    """
    return SaveableDataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,  # the next epoch starts at once
        generator=torch.Generator(),
    )


class UtteranceDataset(Dataset):
    """Whole utterances.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    sample_rate : int
        Hz.
    """

    def __init__(self, utterances: dict[str, str], sample_rate: int):
        self.utterances = list(utterances.items())
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> dict[str, str | Tensor]:
        """id and sig (samples,)."""
        utt_id, path = self.utterances[index]
        return {"id": utt_id, "sig": read_audio(path, self.sample_rate)}


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
        Length of each in s, for sorting.
    batch_seconds : float
        Speech of a batch in s, padding included; an utterance that is longer
        makes a batch of its own. Attention's memory grows with the square of
        the length, so a number of utterances would be no bound.
    sample_rate : int
        Hz.
    num_workers : int
        Processes that read.

    Returns
    -------
    loader : DataLoader
        Batches with id and sig (batch, samples).
    """
    places = {utt_id: place for place, utt_id in enumerate(utterances)}
    batches = [
        [places[utt_id] for utt_id in batch]
        for batch in batch_by_length(
            {utt_id: durations[utt_id] for utt_id in utterances}, batch_seconds
        )
    ]
    return DataLoader(
        UtteranceDataset(utterances, sample_rate),
        batch_sampler=own_share(batches),
        num_workers=num_workers,
        collate_fn=PaddedBatch,
        generator=torch.Generator(),
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
