"""Manifest row to tensors of a training: random crops, read by seeking.

What is random depends on seed, epoch and utterance alone.
"""

import numpy as np
import torch
from loader_workers import leave_to_main
from manifest import Manifest, Row
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from custom_modules.audio import read_audio
from custom_modules.augmentation import AugmentationSource, utterance_generator
from custom_modules.samplers import Item

# After so many files in a row that cannot be read, the folder is at fault.
MAX_ATTEMPTS = 10
LENGTH_STEP = 0.1  # s
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

    def __getitem__(self, item: Item) -> dict[str, str | list[str] | Tensor]:
        """The item's id, sig (samples,) and spk_id_encoded (1,).

        With augmentation also material (samples,), snr, is_noise and
        material_length, each (1,). For an utterance whose file, or whose
        noise, can no longer be read, the next one of the manifest stands in,
        most often of the same speaker; bad_files has the errors.
        """
        bad_files = []
        for attempt in range(MAX_ATTEMPTS):
            index = (item.index + attempt) % len(self)
            row = self.manifest[index]
            try:
                example = self._make_example(item._replace(index=index), row)
            except ValueError as error:
                bad_files.append(str(error))
            else:
                return example | {"bad_files": bad_files}
        raise ValueError(
            f"{MAX_ATTEMPTS} files in a row cannot be read any more: is the "
            f"disk there? The last: {bad_files[-1]}"
        )

    def _make_example(self, item: Item, row: Row) -> dict[str, str | Tensor]:
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
        worker_init_fn=leave_to_main,
        generator=torch.Generator(),
    )
