"""Manifest row to tensors, for training and for evaluation.

Training reads random crops by seeking, evaluation whole utterances sorted by
length. What is random depends on seed, epoch and utterance alone.
"""

from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import load_data_csv
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.encoder import CategoricalEncoder
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from custom_modules.audio import read_audio
from custom_modules.augmentation import AugmentationSource, utterance_generator
from custom_modules.samplers import Item

LENGTH_STEP = 0.1  # s


class EpochDataset(DynamicItemDataset):
    """SpeechBrain's dataset, indexed by the samplers' items.

    Those of `custom_modules.samplers`; pipelines may take "epoch" and
    "batch".
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.pipeline.add_static_keys(["epoch", "batch"])

    def __getitem__(self, item: Item) -> dict:
        data_id = self.data_ids[item.index]
        row = self.data[data_id]
        return self.pipeline.compute_outputs(
            {"id": data_id, "epoch": item.epoch, "batch": item.batch, **row}
        )


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


def make_train_dataset(
    manifest: Path,
    data_folder: Path,
    sentence_len: float | list[float],
    sample_rate: int,
    seed: int,
    augmentation: AugmentationSource | None,
) -> tuple[EpochDataset, CategoricalEncoder]:
    """Crops, labels and the draws of their augmentation.

    Arguments
    ---------
    manifest : Path
        CSV of `voxceleb1_prepare`.
    data_folder : Path
        What `$data_root` stands for.
    sentence_len : float | list[float]
        Of `CropLengths`.
    sample_rate : int
        Hz.
    seed : int
        Of the crops.
    augmentation : AugmentationSource | None
        Draws noise or a room for each crop; None: no augmentation.

    Returns
    -------
    dataset : EpochDataset
        Items id, sig (samples,), spk_id_encoded (1,) and, with augmentation,
        material (samples,), snr (1,), is_noise (1,).
    encoder : CategoricalEncoder
        Speaker → label, in the order of the speakers' sorted names.
    """
    dataset = EpochDataset.from_csv(
        manifest, replacements={"data_root": data_folder}
    )
    encoder = CategoricalEncoder()
    speakers = {row["spk_id"] for row in dataset.data.values()}
    encoder.update_from_iterable(sorted(speakers))
    encoder.expect_len(len(speakers))
    crop_lengths = CropLengths(sentence_len, sample_rate, seed)

    def crop(
        utt_id: str, epoch: int, batch: int, wav: str, duration: str
    ) -> Tensor:
        generator = utterance_generator(seed, epoch, utt_id, "crop")
        num_samples = crop_lengths(epoch, batch)
        return random_crop(
            wav, float(duration), num_samples, sample_rate, generator
        )

    def encode(spk_id: str) -> Tensor:
        return torch.tensor([encoder.encode_label(spk_id)])

    crop_items = ["id", "epoch", "batch", "wav", "duration"]
    dataset.add_dynamic_item(crop, crop_items, "sig")
    dataset.add_dynamic_item(encode, ["spk_id"], "spk_id_encoded")
    keys = ["id", "sig", "spk_id_encoded"]
    if augmentation is not None:

        def draw(
            utt_id: str, epoch: int, batch: int
        ) -> tuple[Tensor, Tensor, Tensor]:
            num_samples = crop_lengths(epoch, batch)
            draw = augmentation.draw(utt_id, epoch, num_samples)
            snr = torch.tensor([draw.snr], dtype=torch.float32)
            return draw.material, snr, torch.tensor([draw.is_noise])

        items = ["material", "snr", "is_noise"]
        dataset.add_dynamic_item(draw, ["id", "epoch", "batch"], items)
        keys += items
    dataset.set_output_keys(keys)
    return dataset, encoder


def make_train_loader(
    dataset: EpochDataset, sampler: Sampler, num_workers: int
) -> SaveableDataLoader:
    """Loader of whole batches, with a generator of its own.

    Without one, making the iterator would draw from torch's global state, and
    a resumed training would differ from an uninterrupted one.
    """
    return SaveableDataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=PaddedBatch,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def make_evaluation_loader(
    utterances: dict[str, Path],
    durations: dict[str, float],
    batch_seconds: float,
    sample_rate: int,
    num_workers: int,
) -> DataLoader:
    """Whole utterances, each once, the longest batch first.

    Sorting by length keeps padding small; the longest first, an utterance too
    long for the memory is found at once.

    Arguments
    ---------
    utterances : dict[str, Path]
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
    rows = {utt_id: {"wav": str(path)} for utt_id, path in utterances.items()}
    dataset = DynamicItemDataset(rows)

    def read(wav: str) -> Tensor:
        return read_audio(wav, sample_rate)

    dataset.add_dynamic_item(read, ["wav"], "sig")
    dataset.set_output_keys(["id", "sig"])
    ids = dataset.data_ids
    order = sorted(range(len(ids)), key=lambda i: (-durations[ids[i]], ids[i]))
    batches = []
    while order:
        batch_size = max(1, int(batch_seconds / durations[ids[order[0]]]))
        batches.append(order[:batch_size])
        order = order[batch_size:]
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=PaddedBatch,
        generator=torch.Generator(),
    )


def read_manifest(
    manifest: Path, data_folder: Path
) -> tuple[dict[str, Path], dict[str, float]]:
    """Files and durations of a manifest, for `make_evaluation_loader`.

    Arguments
    ---------
    manifest : Path
        CSV of `voxceleb1_prepare`.
    data_folder : Path
        What `$data_root` stands for.

    Returns
    -------
    utterances : dict[str, Path]
        File of each utterance.
    durations : dict[str, float]
        Length of each in s.
    """
    rows = load_data_csv(manifest, replacements={"data_root": data_folder})
    utterances = {utt_id: Path(row["wav"]) for utt_id, row in rows.items()}
    durations = {utt_id: row["duration"] for utt_id, row in rows.items()}
    return utterances, durations
