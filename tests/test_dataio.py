"""Crops and draws are functions of seed, epoch and utterance."""

import pickle

import numpy as np
import pytest
import soundfile
import torch
from augmentation_files import find_noises
from dataio import (
    CropLengths,
    TrainingDataset,
    make_train_loader,
    random_crop,
)
from manifest import Manifest

from custom_modules.augmentation import AugmentationSource
from custom_modules.samplers import Item, ShuffledBatchSampler


def dataset(manifest, seed=1, with_noise=True, sentence_len=1.0):
    folder = manifest.parent
    noises = find_noises(folder / "wav" / "id10000", 16000)
    source = AugmentationSource(noises, noises, 15, 25, 16000, seed)
    return TrainingDataset(
        Manifest(manifest, folder),
        sentence_len,
        16000,
        seed,
        source if with_noise else None,
    )


def collect(manifest, epoch, num_workers, seed=1, sentence_len=1.0):
    """Everything that is random in an epoch, by utterance."""
    data = dataset(manifest, seed, sentence_len=sentence_len)
    sampler = ShuffledBatchSampler(data.utterance_labels, 3, seed)
    sampler.set_epoch(epoch)
    items = {}
    for batch in make_train_loader(data, sampler, num_workers):
        for i, utt_id in enumerate(batch.id):
            items[utt_id] = torch.cat(
                [
                    batch.sig.data[i],
                    batch.material.data[i],
                    batch.snr.data[i],
                    batch.is_noise.data[i].float(),
                ]
            )
    return items


def is_same(first, second):
    return list(first) == list(second) and all(
        torch.equal(first[key], second[key]) for key in first
    )


def test_the_number_of_workers_changes_nothing(manifest):
    assert is_same(collect(manifest, 3, 0), collect(manifest, 3, 2))


def test_crops_of_a_batch_have_one_length_and_batches_differ(manifest):
    data = dataset(manifest, sentence_len=[0.4, 1.2])
    sampler = ShuffledBatchSampler(data.utterance_labels, 3, 1)
    lengths = []
    for _ in range(2):
        for batch in make_train_loader(data, sampler, 0):
            assert batch.sig.lengths.eq(1).all()
            assert batch.sig.data.shape == batch.material.data.shape
            lengths.append(batch.sig.data.shape[1])
        sampler.set_epoch(2)
    assert len(lengths) == 8
    assert len(set(lengths)) >= 4
    assert set(lengths) <= set(range(6400, 19201, 1600))


def test_drawn_lengths_do_not_depend_on_the_workers(manifest):
    drawn = [collect(manifest, 3, n, sentence_len=[0.4, 1.2]) for n in (0, 2)]
    assert is_same(*drawn)


def test_drawn_lengths_are_uniform_in_steps_of_a_tenth():
    lengths = CropLengths([1.0, 1.3], sample_rate=1000, seed=0)
    draws = [lengths(1, batch) for batch in range(2000)]
    counts = [draws.count(length) for length in (1000, 1100, 1200, 1300)]
    assert sum(counts) == 2000
    assert max(abs(count - 500) for count in counts) < 100  # five deviations


def test_a_fixed_length_is_fixed():
    lengths = CropLengths(1.25, sample_rate=1000, seed=0)
    assert {lengths(1, batch) for batch in range(20)} == {1250}


@pytest.mark.parametrize("wrong", [0.0, [2.0], [3.0, 2.0], [-1.0, 2.0]])
def test_impossible_crop_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match=r"sentence_len .* shortest and the"):
        CropLengths(wrong, 16000, 0)


def test_another_epoch_or_seed_draws_anew(manifest):
    base = collect(manifest, 1, 0)
    for other in (collect(manifest, 2, 0), collect(manifest, 1, 0, seed=2)):
        assert sorted(base) == sorted(other)
        assert not any(torch.equal(base[key], other[key]) for key in base)


def test_making_an_iterator_leaves_the_global_random_state_alone(manifest):
    data = dataset(manifest)
    loader = make_train_loader(data, ShuffledBatchSampler([0] * 12, 3, 1), 0)
    state = torch.get_rng_state()
    next(iter(loader))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_crop_is_a_segment_of_the_file(manifest):
    path = next((manifest.parent / "wav" / "id10002").rglob("*11.wav"))
    whole, rate = soundfile.read(path, dtype="float32")
    generator = np.random.default_rng(0)
    starts = set()
    for _ in range(20):
        crop = random_crop(path, len(whole) / rate, rate // 2, rate, generator)
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(crop))
        matches = np.flatnonzero((windows == crop.numpy()).all(axis=1))
        assert len(matches) == 1
        starts.add(int(matches[0]))
    assert len(starts) == 20


def test_a_short_utterance_is_repeated_to_length(manifest):
    path = manifest.parent / "wav" / "id10000" / "session" / "00000.wav"
    whole, rate = soundfile.read(path, dtype="float32")
    crop = random_crop(path, 0.5, 19200, rate, np.random.default_rng(0))
    expected = np.concatenate([whole, whole, whole])[:19200]
    np.testing.assert_array_equal(crop.numpy(), expected)


def test_labels_follow_the_sorted_speakers(manifest):
    data = dataset(manifest, with_noise=False)
    assert data.labels == {"id10000": 0, "id10001": 1, "id10002": 2}
    item = data[Item(epoch=1, batch=0, index=4)]
    assert item["spk_id_encoded"].item() == 1
    assert "material" not in item


def test_the_dataset_can_be_sent_to_a_worker_that_is_not_forked(manifest):
    """macOS starts the loader's workers so."""
    data = dataset(manifest)
    item = Item(epoch=2, batch=0, index=4)
    sent = pickle.loads(pickle.dumps(data))[item]
    for key, value in data[item].items():
        is_tensor = torch.is_tensor(value)
        assert value.equal(sent[key]) if is_tensor else value == sent[key]


def test_what_steers_a_step_stays_on_the_cpu(manifest):
    """A GPU would have to be waited for."""
    data = dataset(manifest)
    loader = make_train_loader(
        data, ShuffledBatchSampler(data.utterance_labels, 3, 1), 0
    )
    batch = next(iter(loader)).to("meta")
    for key in ("sig", "material", "snr", "spk_id_encoded"):
        assert batch[key].data.is_meta, key
    for key in ("is_noise", "material_length"):
        assert not batch[key].data.is_meta, key
