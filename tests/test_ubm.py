"""The UBM against frame-by-frame loops in NumPy, and EM's promise."""

import numpy as np
import pytest
import torch

from custom_modules import ubm as module
from custom_modules.ubm import DiagonalGMM

ROUNDING = 1e-10  # of a log-likelihood in float64


def clusters(num_frames=600, feature_size=3, seed=0):
    """Frames of three Gaussians, float64."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(3, feature_size, generator=generator)
    labels = torch.randint(3, (num_frames,), generator=generator)
    noise = torch.randn(num_frames, feature_size, generator=generator)
    return (centres[labels] + noise).double(), centres


def fitted(num_components=4, steps=3, seed=0):
    frames, _ = clusters(seed=seed)
    ubm = DiagonalGMM(num_components, frames.shape[1]).double()
    ubm.initialise(frames, torch.Generator().manual_seed(seed))
    for _ in range(steps):
        ubm.em_step(frames)
    return ubm


def slow_posteriors(ubm, frame):
    """Posteriors and likelihood of one frame, component by component."""
    joint = []
    for weight, mean, variance in zip(
        ubm.weights.numpy(),
        ubm.means.numpy(),
        ubm.variances.numpy(),
        strict=True,
    ):
        density = weight
        for x, m, v in zip(frame, mean, variance, strict=True):
            density *= np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(
                2 * np.pi * v
            )
        joint.append(density)
    return np.array(joint) / sum(joint), sum(joint)


def test_log_likelihoods_are_those_of_a_loop_over_the_formula():
    ubm = fitted()
    frames, _ = clusters(20, seed=1)
    expected = [np.log(slow_posteriors(ubm, x)[1]) for x in frames.numpy()]
    np.testing.assert_allclose(ubm(frames).numpy(), expected, rtol=1e-10)


def test_statistics_are_those_of_a_loop_over_utterances_and_frames():
    ubm = fitted()
    feats = clusters(21, seed=2)[0].view(3, 7, 3)
    mask = torch.rand(3, 7, generator=torch.Generator().manual_seed(0)) < 0.6
    zeroth, first = ubm.statistics(feats, mask)
    for i in range(3):
        counts, sums = np.zeros(4), np.zeros((4, 3))
        for t in range(7):
            if mask[i, t]:
                posteriors, _ = slow_posteriors(ubm, feats[i, t].numpy())
                counts += posteriors
                for c in range(4):
                    centred = feats[i, t].numpy() - ubm.means[c].numpy()
                    sums[c] += posteriors[c] * centred
        np.testing.assert_allclose(zeroth[i].numpy(), counts, rtol=1e-9)
        np.testing.assert_allclose(first[i].numpy(), sums, atol=1e-9)


def test_masked_frames_have_no_influence_even_if_nan():
    ubm = fitted()
    feats = clusters(10, seed=3)[0].view(1, 10, 3)
    padded = torch.cat([feats, torch.full((1, 4, 3), torch.nan)], dim=1)
    mask = torch.tensor([[True] * 10 + [False] * 4])
    for alone, batched in zip(
        ubm.statistics(feats, mask[:, :10]),
        ubm.statistics(padded.float().double(), mask),
        strict=True,
    ):
        torch.testing.assert_close(alone, batched, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variance_floor", [1e-4, 0.3])
@pytest.mark.parametrize("num_components", [1, 2, 8, 32])
def test_no_step_of_em_lowers_the_likelihood(num_components, variance_floor):
    """Also where the floor of the variances is reached."""
    frames, _ = clusters()
    ubm = DiagonalGMM(num_components, 3, variance_floor).double()
    ubm.initialise(frames, torch.Generator().manual_seed(0))
    values = [ubm.em_step(frames) for _ in range(25)]
    assert values[-1] > values[0]
    assert (np.diff(values) >= -ROUNDING).all()
    if variance_floor == 0.3 and num_components > 1:
        assert (ubm.variances == ubm.min_variances).any()


def test_one_component_is_mean_and_variance_of_the_frames():
    frames, _ = clusters()
    ubm = DiagonalGMM(1, 3).double()
    ubm.initialise(frames, torch.Generator())
    first = ubm.em_step(frames)
    torch.testing.assert_close(ubm.means[0], frames.mean(dim=0))
    torch.testing.assert_close(ubm.variances[0], frames.var(0, correction=0))
    assert ubm.em_step(frames) > first


def test_em_finds_known_clusters():
    frames, centres = clusters(3000)
    ubm = DiagonalGMM(3, 3).double()
    ubm.initialise(frames, torch.Generator().manual_seed(3))
    for _ in range(50):
        ubm.em_step(frames)
    distances = torch.cdist(centres.double(), ubm.means)
    assert distances.min(dim=1).values.max() < 0.15
    assert set(distances.argmin(dim=1).tolist()) == {0, 1, 2}


def test_chunks_of_frames_give_the_same_step(monkeypatch):
    frames, _ = clusters(100)
    whole, chunked = fitted(), fitted()
    whole.em_step(frames)
    monkeypatch.setattr(module, "CHUNK", 7)
    chunked.em_step(frames)
    for name, value in whole.named_buffers():
        torch.testing.assert_close(value, getattr(chunked, name), msg=name)


def test_a_component_without_frames_stays_finite():
    frames, _ = clusters()
    ubm = fitted(2)
    ubm.means[1] = 1e4
    for _ in range(2):
        assert np.isfinite(ubm.em_step(frames))
    assert (ubm.means[1] == 1e4).all()
    assert ubm.joint(frames).logsumexp(dim=1).isfinite().all()


def test_the_same_generator_gives_the_same_model():
    one, two, other = fitted(seed=0), fitted(seed=0), fitted(seed=1)
    assert torch.equal(one.means, two.means)
    assert not torch.equal(one.means, other.means)


def test_the_model_is_saved_with_its_parameters():
    ubm, copy = fitted(), DiagonalGMM(4, 3).double()
    copy.load_state_dict(ubm.state_dict())
    frames, _ = clusters(5)
    assert torch.equal(ubm(frames), copy(frames))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), r"num_components \(0\)"),
        ((2, 0), r"feature_size \(0\)"),
        ((2, 3, 0.0), r"variance_floor \(0.0\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiagonalGMM(*arguments)


def test_frames_that_cannot_start_a_model_are_refused():
    with pytest.raises(ValueError, match="3 frames cannot start 4 components"):
        DiagonalGMM(4, 2).initialise(torch.randn(3, 2), torch.Generator())
    frames = torch.stack([torch.randn(9), torch.ones(9)], dim=1)
    with pytest.raises(ValueError, match=r"features \[1\] are constant"):
        DiagonalGMM(4, 2).initialise(frames, torch.Generator())
