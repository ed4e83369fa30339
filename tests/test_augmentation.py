"""Augmentation: its physics, and what its draws depend on."""

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.augment.augmenter import Augmenter
from torch.utils.data import DataLoader

from custom_modules.augmentation import (
    AugmentationSource,
    NoiseOrReverb,
    utterance_generator,
)
from custom_modules.mixing import add_noise, reverberate

RATE = 16000
DECIBELS = 1e-4
FLOAT64 = 1e-10
NUM_SAMPLES = 400
UTT_IDS = [f"id{i % 20:05d}/session/{i:05d}" for i in range(400)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def files(tmp_path):
    """Noises of 1000 and rooms of 300 samples; rooms start late."""
    rng = np.random.default_rng(0)
    noises, rirs = [], []
    for i in range(3):
        noises.append(tmp_path / f"noise{i}.wav")
        soundfile.write(noises[-1], rng.uniform(-0.5, 0.5, 1000), RATE)
        rir = 0.1 * rng.standard_normal(300) * np.exp(-np.arange(300) / 50)
        rir[:20], rir[20] = 0.0, 0.9
        rirs.append(tmp_path / f"rir{i}.wav")
        soundfile.write(rirs[-1], rir, RATE)
    return noises, rirs


def make(noises, rirs, seed=1986):
    return AugmentationSource(noises, rirs, 15.0, 25.0, RATE, seed)


def draw_all(source, utt_ids=UTT_IDS[:30], epoch=1):
    return {u: source.draw(u, epoch, NUM_SAMPLES) for u in utt_ids}


def are_equal(ones, others):
    return ones.keys() == others.keys() and all(
        torch.equal(ones[u].material, others[u].material)
        and ones[u][1:] == others[u][1:]
        for u in ones
    )


def test_each_utterance_has_its_own_material_kind_and_snr():
    """A batch is what one after the other gives."""
    wavs, material = torch.randn(6, 500), torch.randn(6, 500)
    snrs = torch.linspace(0, 25, 6)
    is_noise = torch.tensor([True, False, False, True, True, False])
    augment = NoiseOrReverb()
    augment.set_draws(material, snrs, is_noise)
    together = augment(wavs)
    for i in range(6):
        one = slice(i, i + 1)
        expected = (
            add_noise(wavs[one], material[one], snrs[one])
            if is_noise[i]
            else reverberate(wavs[one], material[one])
        )
        torch.testing.assert_close(together[one], expected)


def test_padding_of_the_material_changes_nothing():
    wavs, material = torch.randn(3, 500), torch.randn(3, 500)
    material[1:, 200:] = 0.0
    draws = material, torch.ones(3), torch.tensor([True, False, False])
    augment = NoiseOrReverb()
    augment.set_draws(*draws)
    expected = augment(wavs)
    augment.set_draws(*draws, torch.tensor([500, 200, 150]))
    torch.testing.assert_close(augment(wavs), expected)


@pytest.mark.parametrize("kind", [True, False], ids=["noise", "rooms"])
def test_a_batch_may_be_of_one_kind(kind):
    augment = NoiseOrReverb()
    augment.set_draws(
        torch.randn(2, 50), torch.ones(2), torch.tensor([kind, kind])
    )
    assert augment(torch.randn(2, 50)).isfinite().all()


@pytest.mark.parametrize("is_noise", [True, False])
@pytest.mark.parametrize("silent", ["wavs", "material", "both"])
def test_silence_gives_no_nan_and_stays_silent(is_noise, silent):
    wavs, material = torch.randn(1, 500), torch.randn(1, 500)
    if silent != "material":
        wavs = torch.zeros(1, 500)
    if silent != "wavs":
        material = torch.zeros(1, 500)
    augment = NoiseOrReverb()
    augment.set_draws(material, torch.tensor([15.0]), torch.tensor([is_noise]))
    y = augment(wavs)
    expected = wavs if is_noise else torch.zeros(1, 500)
    assert torch.equal(y, expected)


def test_draws_depend_on_neither_order_nor_calls(files):
    source = make(*files)
    first = draw_all(source)
    assert are_equal(first, draw_all(source))
    backwards = draw_all(make(*files), UTT_IDS[:30][::-1])
    assert are_equal(first, {u: backwards[u] for u in first})


def test_draws_do_not_depend_on_the_process(files):
    """A worker's draws are ours; torch's state neither read nor moved."""
    source = make(*files)
    expected = draw_all(source)
    torch.manual_seed(1)
    loader = DataLoader(
        list(expected),
        batch_size=None,
        num_workers=1,
        collate_fn=lambda utt_id: (
            utt_id,
            *source.draw(utt_id, 1, NUM_SAMPLES),
        ),
    )
    for utt_id, material, *others in loader:
        draw = expected[utt_id]
        assert torch.equal(material, draw.material)
        assert others == [draw.snr, draw.is_noise, draw.length]
    state = torch.get_rng_state()
    draw_all(source)
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_do_not_depend_on_the_machine():
    """Pinned: other numbers would be another experiment."""
    generator = utterance_generator(1986, 1, "id10270/session/00001", "crop")
    assert generator.integers(10**6, size=3).tolist() == [405698, 666778, 91311]


def test_draws_differ_between_seeds_epochs_utterances_and_purposes(files):
    arguments = [
        (1, 1, "a", "crop"),
        (2, 1, "a", "crop"),
        (1, 2, "a", "crop"),
        (1, 1, "b", "crop"),
        (1, 1, "a", "augment"),
    ]
    assert len({utterance_generator(*a).random() for a in arguments}) == 5
    one, two = draw_all(make(*files)), draw_all(make(*files), epoch=2)
    other = draw_all(make(*files, seed=1987))
    snrs = {d.snr for draws in (one, two, other) for d in draws.values()}
    assert len(snrs) == 90


def test_noise_and_rooms_are_equally_likely(files):
    source = make(*files)
    draws = draw_all(source, UTT_IDS).values()
    count = sum(draw.is_noise for draw in draws)
    assert 150 < count < 250  # five standard deviations
    snrs = [draw.snr for draw in draws]
    assert 15.0 <= min(snrs) < 15.5
    assert 24.5 < max(snrs) <= 25.0


def test_without_rooms_all_is_noise_and_without_noise_all_are_rooms(files):
    noises, rirs = files
    assert all(d.is_noise for d in draw_all(make(noises, [])).values())
    assert not any(d.is_noise for d in draw_all(make([], rirs)).values())


def test_long_noise_is_a_random_segment(files):
    noises, _ = files
    whole = torch.from_numpy(soundfile.read(noises[0], dtype="float32")[0])
    segments = whole.unfold(0, NUM_SAMPLES, 1)
    starts = set()
    for draw in draw_all(make(noises[:1], [])).values():
        matches = (segments == draw.material).all(dim=1)
        starts.add(matches.nonzero().item())
    assert len(starts) > 20


@pytest.mark.parametrize("num_samples", [1000, 1001, 2500])
def test_short_noise_is_repeated_from_a_random_start(files, num_samples):
    noises, _ = files
    whole = torch.from_numpy(soundfile.read(noises[0], dtype="float32")[0])
    material = make(noises[:1], []).draw("a", 1, num_samples).material
    start = (whole == material[0]).nonzero()[0].item()
    index = (start + torch.arange(num_samples)) % len(whole)
    assert torch.equal(material, whole[index])


@pytest.mark.parametrize("num_samples", [100, 280, 500])
def test_a_room_starts_at_its_direct_path(files, num_samples):
    """Cut to the utterance or followed by zeros: 280 samples are left."""
    _, rirs = files
    whole = torch.from_numpy(soundfile.read(rirs[0], dtype="float32")[0])
    draw = make([], rirs[:1]).draw("a", 1, num_samples)
    size, material = min(num_samples, 280), draw.material
    assert draw.length == size
    assert material.shape == (num_samples,)
    assert torch.equal(material[:size], whole[20 : 20 + size])
    assert not material[size:].any()


def test_speechbrains_augmenter_appends_one_copy_of_each(files):
    """2B of everything, the originals first."""
    noise_or_reverb = NoiseOrReverb()
    augmenter = Augmenter(
        concat_original=True,
        min_augmentations=1,
        max_augmentations=1,
        augmentations=[noise_or_reverb],
    )
    draws = draw_all(make(*files), UTT_IDS[:8]).values()
    material, snrs, is_noise, lengths = zip(*draws, strict=True)
    prepared = (
        torch.stack(material),
        torch.tensor(snrs, dtype=torch.float32),
        torch.tensor(is_noise),
        torch.tensor(lengths),
    )
    wavs, labels = torch.randn(8, NUM_SAMPLES), torch.arange(8)
    noise_or_reverb.set_draws(*prepared)
    augmented, lens = augmenter(wavs, torch.linspace(0.3, 1.0, 8))
    assert augmented.shape == (16, NUM_SAMPLES)
    assert torch.equal(augmented[:8], wavs)
    noise_or_reverb.set_draws(*prepared)
    assert torch.equal(augmented[8:], noise_or_reverb(wavs))
    assert torch.equal(lens, torch.linspace(0.3, 1.0, 8).repeat(2))
    assert torch.equal(augmenter.replicate_labels(labels), labels.repeat(2))


def test_draws_are_used_once_and_for_their_batch_alone():
    augment, wavs = NoiseOrReverb(), torch.randn(2, 50)
    draws = torch.randn(2, 50), torch.ones(2), torch.tensor([True, False])
    message = r"no draws for waveforms of shape \(\d, 50\): call set_draws"
    with pytest.raises(ValueError, match=message):
        augment(wavs)
    augment.set_draws(*draws)
    with pytest.raises(ValueError, match=message):
        augment(wavs[:1])
    augment(wavs)
    with pytest.raises(ValueError, match=message):
        augment(wavs)


def test_a_source_without_files_or_with_a_swapped_range_is_refused(files):
    with pytest.raises(ValueError, match="give noise files"):
        make([], [])
    with pytest.raises(ValueError, match=r"snr_low \(25\) must not exceed"):
        AugmentationSource(*files, 25, 15, RATE, 1986)
