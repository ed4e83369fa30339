"""Total variability against explicit formulas, and EM's promise."""

import numpy as np
import pytest
import torch

from custom_modules import ivector as module
from custom_modules.ivector import TotalVariability

ROUNDING = 1e-9  # of a log-likelihood in float64
SIZES = (4, 3, 2)  # components, features, i-vector


def model_and_statistics(num_utterances=30, seed=0, sizes=SIZES):
    """A random T, and statistics drawn from it: F = N (T w + noise)."""
    num_components, feature_size, ivector_size = sizes
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    model = TotalVariability(*sizes).double()
    model.initialise(
        draw(num_components, feature_size).square() + 0.5, generator
    )
    model.matrix.copy_(draw(*sizes))
    zeroth = 20 * draw(num_utterances, num_components).square() + 1
    w = draw(num_utterances, ivector_size)
    offsets = torch.einsum("cfr,ur->ucf", model.matrix, w)
    noise = draw(num_utterances, num_components, feature_size)
    noise = noise * (model.variances / zeroth.unsqueeze(2)).sqrt()
    return model, zeroth, zeroth.unsqueeze(2) * (offsets + noise), w


def supervectors(model, zeroth, first):
    """T (CF, R), diagonals of N and S (CF,), F (CF,) of one utterance."""
    size = model.matrix.shape[1]
    return (
        model.matrix.flatten(0, 1).numpy(),
        np.repeat(zeroth.numpy(), size),
        model.variances.flatten().numpy(),
        first.flatten().numpy(),
    )


def test_ivectors_are_those_of_the_formula():
    """w = (I + T' S^-1 N T)^-1 T' S^-1 F, one utterance at a time."""
    model, zeroth, first, _ = model_and_statistics()
    ivectors = model(zeroth, first)
    for i in range(len(zeroth)):
        t, n, s, f = supervectors(model, zeroth[i], first[i])
        precision = np.eye(2) + t.T @ np.diag(n / s) @ t
        expected = np.linalg.inv(precision) @ t.T @ np.diag(1 / s) @ f
        np.testing.assert_allclose(ivectors[i].numpy(), expected, rtol=1e-9)


def test_posterior_precision_is_that_of_the_formula():
    model, zeroth, first, _ = model_and_statistics(3)
    roots = model.posterior(zeroth, first).precision_roots
    for i in range(3):
        t, n, s, _ = supervectors(model, zeroth[i], first[i])
        expected = np.eye(2) + t.T @ np.diag(n / s) @ t
        np.testing.assert_allclose((roots[i] @ roots[i].T).numpy(), expected)


def gaussian_log_density(x, covariance):
    sign, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    assert sign > 0
    return -0.5 * (log_det + x @ np.linalg.solve(covariance, x))


def test_log_likelihoods_are_those_of_the_marginal_gaussian():
    """F ~ N(0, N S + N T T' N), against the same without T."""
    model, zeroth, first, _ = model_and_statistics()
    values = model.log_likelihoods(zeroth, first)
    for i in range(len(zeroth)):
        t, n, s, f = supervectors(model, zeroth[i], first[i])
        noise, shift = np.diag(n * s), n[:, None] * t
        expected = gaussian_log_density(f, noise + shift @ shift.T)
        expected -= gaussian_log_density(f, noise)
        assert values[i].item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("sizes", [(4, 3, 2), (1, 5, 5), (8, 2, 1), (3, 4, 9)])
def test_no_step_of_em_lowers_the_likelihood(sizes):
    """Minimum divergence included; from a random start, to the end."""
    model, zeroth, first, _ = model_and_statistics(sizes=sizes)
    model.initialise(model.variances.clone(), torch.Generator().manual_seed(1))
    values = [model.em_step(zeroth, first) for _ in range(60)]
    assert values[-1] > values[0]
    assert (np.diff(values) >= -ROUNDING).all()


def test_em_reports_the_likelihood_before_its_step():
    model, zeroth, first, _ = model_and_statistics()
    before = model.log_likelihoods(zeroth, first).mean().item()
    assert model.em_step(zeroth, first) == pytest.approx(before, rel=1e-12)


def test_em_step_is_that_of_a_loop():
    """Kenny's update, then the root of the second moment, in NumPy."""
    model, zeroth, first, _ = model_and_statistics(10)
    num_components = SIZES[0]
    moments = np.zeros((num_components, 2, 2))
    cross, second = np.zeros(SIZES), np.zeros((2, 2))
    for i in range(10):
        t, n, s, f = supervectors(model, zeroth[i], first[i])
        covariance = np.linalg.inv(np.eye(2) + t.T @ np.diag(n / s) @ t)
        w = covariance @ t.T @ (f / s)
        expected = covariance + np.outer(w, w)
        second += expected / 10
        for c in range(num_components):
            moments[c] += zeroth[i, c].item() * expected
            cross[c] += np.outer(first[i, c].numpy(), w)
    model.em_step(zeroth, first)
    for c in range(num_components):
        t = cross[c] @ np.linalg.inv(moments[c]) @ np.linalg.cholesky(second)
        np.testing.assert_allclose(model.matrix[c].numpy(), t, rtol=1e-7)


def test_em_finds_a_known_subspace():
    """Of 12 dimensions, those 2 in which the utterances differ."""
    truth, zeroth, first, w = model_and_statistics(300)
    model = TotalVariability(*SIZES).double()
    model.initialise(truth.variances, torch.Generator().manual_seed(5))
    for _ in range(40):
        model.em_step(zeroth, first)
    bases = [torch.linalg.qr(m.matrix.flatten(0, 1)).Q for m in (truth, model)]
    cosines = torch.linalg.svdvals(bases[0].T @ bases[1])
    assert cosines.min() > 0.99
    ivectors = model(zeroth, first)
    fit = torch.linalg.lstsq(ivectors, w).solution
    error = (w - ivectors @ fit).square().mean() / w.square().mean()
    assert error < 0.05


def test_after_em_the_second_moment_of_the_posterior_is_the_prior():
    """What the minimum divergence step is for."""
    model, zeroth, first, _ = model_and_statistics(60)
    for _ in range(100):
        model.em_step(zeroth, first)
    means, roots, _ = model.posterior(zeroth, first)
    second = torch.cholesky_inverse(roots).mean(0) + means.T @ means / 60
    torch.testing.assert_close(
        second, torch.eye(2, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_an_utterance_without_frames_is_the_prior():
    model, _, _, _ = model_and_statistics()
    zeroth = torch.zeros(1, 4, dtype=torch.float64)
    first = torch.zeros(1, 4, 3, dtype=torch.float64)
    assert (model(zeroth, first) == 0).all()
    assert model.log_likelihoods(zeroth, first).item() == 0


def test_chunks_of_utterances_give_the_same_step(monkeypatch):
    models = []
    for chunk in (100, 7, 1):
        monkeypatch.setattr(module, "CHUNK", chunk)
        model, zeroth, first, _ = model_and_statistics()
        model.em_step(zeroth, first)
        models.append(model.matrix)
    torch.testing.assert_close(models[0], models[1])
    torch.testing.assert_close(models[0], models[2])


def test_a_component_without_frames_keeps_its_rows():
    model, zeroth, first, _ = model_and_statistics()
    zeroth[:, 1], first[:, 1] = 0, 0
    root_before = model.matrix[1].clone()
    model.em_step(zeroth, first)
    assert model.matrix.isfinite().all()
    # Up to the minimum divergence step, which mixes every one's columns.
    ranks = torch.linalg.matrix_rank(
        torch.cat([root_before, model.matrix[1]], dim=1), atol=1e-9
    )
    assert ranks == 2


def test_the_same_generator_gives_the_same_start():
    starts = []
    for seed in (0, 0, 1):
        model = TotalVariability(*SIZES)
        generator = torch.Generator().manual_seed(seed)
        model.initialise(torch.ones(4, 3), generator)
        starts.append(model.matrix)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("ivector_size", [0, 13])
def test_wrong_sizes_are_named(ivector_size):
    with pytest.raises(ValueError, match=rf"ivector_size \({ivector_size}\)"):
        TotalVariability(4, 3, ivector_size)
