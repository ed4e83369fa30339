"""Universal background model: a mixture of diagonal Gaussians, and the
Baum-Welch statistics of utterances under it.

Reynolds, Quatieri, Dunn, "Speaker verification using adapted Gaussian mixture
models", https://doi.org/10.1006/dspr.1999.0361. Everything is computed in the
precision of the frames; EM adds its sums over chunks of them in float64.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

CHUNK = 16_384  # frames; with 1,024 components they take 64 MB
# A component with fewer frames than this keeps its mean and variance.
MIN_COUNT = 1e-3


class Statistics(NamedTuple):
    """Baum-Welch statistics of utterances.

    Arguments
    ---------
    zeroth : Tensor
        (batch, components), expected number of frames of each component.
    first : Tensor
        (batch, components, features), sum of the frames, each weighted by
        its posterior and taken relative to the component's mean.
    """

    zeroth: Tensor
    first: Tensor


class DiagonalGMM(nn.Module):
    """Mixture of Gaussians with diagonal covariances, trained by EM.

    p(x) = sum_c w_c N(x; m_c, diag(v_c)). It has no gradients: `initialise`,
    then `em_step` as often as it helps.

    Arguments
    ---------
    num_components : int
        Gaussians, at least 1.
    feature_size : int
        Width of a frame, at least 1.
    variance_floor : float
        Smallest variance, as a share of that of all frames; in (0, 1].

    Raises
    ------
    ValueError
        Where a size is not positive or the floor not in (0, 1].

    Example
    -------
    >>> frames = torch.tensor([[-1.0], [-0.9], [1.0], [1.1]])
    >>> ubm = DiagonalGMM(2, 1)
    >>> ubm.initialise(frames, torch.Generator().manual_seed(1))
    >>> log_likelihoods = [ubm.em_step(frames) for _ in range(10)]
    >>> ubm.means.sort(dim=0).values
    tensor([[-0.9500],
            [ 1.0500]])
    """

    def __init__(
        self,
        num_components: int,
        feature_size: int,
        variance_floor: float = 0.01,
    ) -> None:
        super().__init__()
        for name, size in (
            ("num_components", num_components),
            ("feature_size", feature_size),
        ):
            if size < 1:
                raise ValueError(f"{name} ({size}) must be at least 1")
        if not 0 < variance_floor <= 1:
            raise ValueError(
                f"variance_floor ({variance_floor}) must be in (0, 1], a "
                "share of the variance of all frames"
            )
        self.variance_floor = variance_floor
        shape = (num_components, feature_size)
        self.register_buffer(
            "weights", torch.full(shape[:1], 1.0 / num_components)
        )
        self.register_buffer("means", torch.zeros(shape))
        self.register_buffer("variances", torch.ones(shape))
        self.register_buffer("min_variances", torch.zeros(feature_size))

    def initialise(self, frames: Tensor, generator: torch.Generator) -> None:
        """Start from random frames as means and the variance of all frames.

        Arguments
        ---------
        frames : Tensor
            (frames, features), at least as many as components.
        generator : torch.Generator
            On the CPU; draws the frames.

        Raises
        ------
        ValueError
            Where there are too few frames, or a feature is constant.
        """
        num_components = len(self.weights)
        if len(frames) < num_components:
            raise ValueError(
                f"{len(frames)} frames cannot start {num_components} "
                "components: lower num_components, or give more frames"
            )
        variances = frames.double().var(dim=0, correction=0)
        constant = (variances <= 0).nonzero().squeeze(1).tolist()
        if constant:
            raise ValueError(
                f"features {constant} are constant: leave them out, a "
                "Gaussian needs a variance"
            )
        drawn = torch.randperm(len(frames), generator=generator)
        drawn = drawn[:num_components].to(frames.device)
        self.weights.fill_(1.0 / num_components)
        self.means.copy_(frames[drawn])
        self.variances.copy_(variances.expand_as(self.variances))
        self.min_variances.copy_(self.variance_floor * variances)

    def joint(self, frames: Tensor) -> Tensor:
        """Compute log w_c + log N(x; m_c, diag(v_c)).

        Shape: frames (..., features) -> (..., components).
        """
        precisions = self.variances.reciprocal()
        # -(x - m)^2 / 2v = m/v x - x^2 / 2v - m^2 / 2v: two products of
        # matrices, and no tensor of (frames, components, features).
        constant = self.weights.log() - 0.5 * (
            self.means.shape[1] * math.log(2 * math.pi)
            + self.variances.log().sum(dim=1)
            + (self.means.square() * precisions).sum(dim=1)
        )  # (components,)
        linear = frames @ (self.means * precisions).T
        return linear - 0.5 * frames.square() @ precisions.T + constant

    def forward(self, frames: Tensor) -> Tensor:
        """Compute the log-likelihood of each frame.

        Shape: frames (..., features) -> (...).
        """
        return self.joint(frames).logsumexp(dim=-1)

    def em_step(self, frames: Tensor) -> float:
        """Re-estimate weights, means and variances.

        With posteriors g_tc: n_c = sum_t g_tc, w_c = n_c / sum n,
        m_c = sum_t g_tc x_t / n_c, v_c = max(sum_t g_tc x_t^2 / n_c - m_c^2,
        floor). The floor too maximises EM's bound, within its limits, so the
        likelihood never falls.

        Arguments
        ---------
        frames : Tensor
            (frames, features).

        Returns
        -------
        log_likelihood : float
            Per frame, in nats, before the step.
        """
        counts, sums, squares = (
            torch.zeros_like(x, dtype=torch.float64)
            for x in (self.weights, self.means, self.means)
        )
        total = torch.zeros((), dtype=torch.float64, device=frames.device)
        for chunk in frames.split(CHUNK):
            joint = self.joint(chunk)
            log_likelihoods = joint.logsumexp(dim=1, keepdim=True)
            posteriors = (joint - log_likelihoods).exp()  # (frames, components)
            total += log_likelihoods.double().sum()
            counts += posteriors.double().sum(dim=0)
            sums += posteriors.T @ chunk
            squares += posteriors.T @ chunk.square()
        is_used = (counts > MIN_COUNT).unsqueeze(1)
        divisors = counts.clamp(min=MIN_COUNT).unsqueeze(1)
        means = torch.where(is_used, sums / divisors, self.means)
        variances = squares / divisors - means.square()
        variances = variances.maximum(self.min_variances)
        self.weights.copy_(counts / counts.sum())
        self.means.copy_(means)
        self.variances.copy_(torch.where(is_used, variances, self.variances))
        return (total / len(frames)).item()

    def statistics(self, feats: Tensor, mask: Tensor) -> Statistics:
        """Collect the Baum-Welch statistics of a padded batch.

        N_c = sum_t g_tc and F_c = sum_t g_tc (x_t - m_c), equations (3) and
        (5) of Dehak et al., "Front-end factor analysis for speaker
        verification", https://doi.org/10.1109/TASL.2010.2064307.

        Arguments
        ---------
        feats : Tensor
            (batch, time, features).
        mask : Tensor
            Boolean (batch, time), True for frames that count; whatever the
            others hold has no influence.

        Returns
        -------
        statistics : Statistics
            (batch, components) and (batch, components, features).

        Example
        -------
        >>> feats = torch.tensor([[[1.0], [4.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> DiagonalGMM(1, 1).statistics(feats, mask)
        Statistics(zeroth=tensor([[2.]]), first=tensor([[[5.]]]))
        """
        padding = ~mask.unsqueeze(2)
        feats = feats.masked_fill(padding, 0.0)
        posteriors = self.joint(feats).softmax(dim=2)
        posteriors = posteriors.masked_fill(padding, 0.0)
        zeroth = posteriors.sum(dim=1)  # (batch, components)
        sums = posteriors.transpose(1, 2) @ feats
        return Statistics(zeroth, sums - zeroth.unsqueeze(2) * self.means)
