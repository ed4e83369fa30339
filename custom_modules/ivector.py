"""Total variability: an utterance's Baum-Welch statistics to its i-vector.

Dehak, Kenny, Dehak, Dumouchel, Ouellet, "Front-end factor analysis for
speaker verification", https://doi.org/10.1109/TASL.2010.2064307: the mean
supervector of an utterance is M = m + T w with w ~ N(0, I), its equation (2),
and the i-vector is the posterior mean of w. T is trained as the eigenvoices of
Kenny, Boulianne, Dumouchel, "Eigenvoice modeling with sparse training data",
https://doi.org/10.1109/TSA.2004.840940, with every utterance as a speaker of
its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

CHUNK = 64  # utterances; 400 x 400 float32 posterior moments take 41 MB
# Share of the model's variance that a random T explains at the start. EM
# leaves T = 0, a stationary point, only slowly.
INITIAL_SHARE = 0.1
MIN_COUNT = 1e-3  # frames; a component with fewer keeps its rows of T


class Posterior(NamedTuple):
    """Posterior of w and what follows from it, of utterances.

    Arguments
    ---------
    means : Tensor
        (batch, ivector_size), the i-vectors.
    precision_roots : Tensor
        (batch, ivector_size, ivector_size), Cholesky roots of the precisions.
    log_likelihoods : Tensor
        (batch,), see `TotalVariability.log_likelihoods`.
    """

    means: Tensor
    precision_roots: Tensor
    log_likelihoods: Tensor


class TotalVariability(nn.Module):
    """The matrix T of M = m + T w, trained by EM, and i-vectors by it.

    The covariances stay the UBM's. It has no gradients: `initialise`, then
    `em_step` as often as it helps.

    Arguments
    ---------
    num_components : int
        Of the UBM.
    feature_size : int
        Width of a frame.
    ivector_size : int
        Length of w; at most num_components * feature_size.

    Raises
    ------
    ValueError
        Where a size is out of range.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> zeroth = torch.full((20, 4), 50.0)
    >>> first = 50 * torch.randn(20, 4, 3, generator=generator)
    >>> model = TotalVariability(4, 3, ivector_size=2)
    >>> model.initialise(torch.ones(4, 3), generator)
    >>> before, after = [model.em_step(zeroth, first) for _ in range(2)]
    >>> after > before
    True
    >>> model(zeroth, first).shape
    torch.Size([20, 2])
    """

    def __init__(
        self, num_components: int, feature_size: int, ivector_size: int
    ) -> None:
        super().__init__()
        if not 1 <= ivector_size <= num_components * feature_size:
            raise ValueError(
                f"ivector_size ({ivector_size}) must be from 1 to "
                f"num_components ({num_components}) times feature_size "
                f"({feature_size})"
            )
        shape = (num_components, feature_size)
        self.register_buffer("matrix", torch.zeros(*shape, ivector_size))
        self.register_buffer("variances", torch.ones(shape))

    def initialise(self, variances: Tensor, generator: torch.Generator) -> None:
        """Start from the UBM's variances and a random T.

        Arguments
        ---------
        variances : Tensor
            (components, features), of the UBM.
        generator : torch.Generator
            On the CPU; draws T.
        """
        self.variances.copy_(variances)
        noise = torch.randn(
            self.matrix.shape, generator=generator, dtype=self.matrix.dtype
        ).to(self.matrix.device)
        scales = self.variances * INITIAL_SHARE / self.matrix.shape[2]
        self.matrix.copy_(scales.sqrt().unsqueeze(2) * noise)

    def whiten(self) -> tuple[Tensor, Tensor]:
        """Compute what all posteriors share, for several batches once.

        Shape: S_c^-1/2 T_c (components, features, ivector_size) and
        T_c' S_c^-1 T_c (components, ivector_size, ivector_size).
        """
        whitened = self.matrix / self.variances.sqrt().unsqueeze(2)
        return whitened, whitened.transpose(1, 2) @ whitened

    def posterior(
        self,
        zeroth: Tensor,
        first: Tensor,
        whitened: tuple[Tensor, Tensor] | None = None,
    ) -> Posterior:
        """Compute the posterior of w given the statistics.

        It is Gaussian with the precision L = I + sum_c N_c T_c' S_c^-1 T_c
        and the mean L^-1 T' S^-1 F, Proposition 1 of Kenny et al. and
        equation (6) of Dehak et al.

        Shape: zeroth (batch, components), first (batch, components, features);
        whitened is what `whiten` gives, computed here where it is None.
        """
        return self._posterior(zeroth, first, *(whitened or self.whiten()))

    def forward(
        self,
        zeroth: Tensor,
        first: Tensor,
        whitened: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Extract i-vectors, the posterior means.

        Shape: zeroth (batch, components), first (batch, components, features)
        -> (batch, ivector_size); whitened as in `posterior`.
        """
        return self.posterior(zeroth, first, whitened).means

    def log_likelihoods(self, zeroth: Tensor, first: Tensor) -> Tensor:
        """Compute log p(F | T) - log p(F | T = 0), alignments being fixed.

        With b = T' S^-1 F it is (b' L^-1 b - log |L|) / 2, the part of
        Kenny's Proposition 2 that depends on T.

        Shape: zeroth (batch, components), first (batch, components, features)
        -> (batch,).
        """
        return self.posterior(zeroth, first).log_likelihoods

    def em_step(self, zeroth: Tensor, first: Tensor) -> float:
        """Re-estimate T, then make the posteriors' second moment I.

        Proposition 3 of Kenny et al.: T_c solves
        T_c sum_u N_uc E[w w'] = sum_u F_uc E[w]'. The minimum divergence step
        then multiplies T by the root of the mean of E[w w']: the same EM for
        a model whose prior is N(0, P), rewritten for the prior N(0, I). The
        prior's mean stays 0. Neither lowers the likelihood.

        Arguments
        ---------
        zeroth : Tensor
            (utterances, components).
        first : Tensor
            (utterances, components, features).

        Returns
        -------
        log_likelihood : float
            Mean over utterances of `log_likelihoods`, before the step.
        """
        ivector_size = self.matrix.shape[2]
        whitened, grams = self.whiten()
        moments = torch.zeros_like(grams)  # sum_u N_uc E[w w']
        cross = torch.zeros_like(self.matrix)  # sum_u F_uc E[w]'
        second = torch.zeros_like(grams[0])  # sum_u E[w w']
        total = torch.zeros((), dtype=torch.float64, device=first.device)
        for counts, sums in zip(
            zeroth.split(CHUNK), first.split(CHUNK), strict=True
        ):
            means, roots, log_likelihoods = self._posterior(
                counts, sums, whitened, grams
            )
            total += log_likelihoods.double().sum()
            expected = torch.cholesky_inverse(roots)
            expected += means.unsqueeze(2) * means.unsqueeze(1)  # E[w w']
            second += expected.sum(dim=0)
            moments += (counts.T @ expected.flatten(1)).view_as(moments)
            cross += (sums.flatten(1).T @ means).view_as(cross)
        counts = zeroth.sum(dim=0)
        is_used = (counts > MIN_COUNT).view(-1, 1, 1)
        identity = torch.eye(ivector_size).to(grams)
        roots = torch.linalg.cholesky(torch.where(is_used, moments, identity))
        solved = torch.cholesky_solve(cross.transpose(1, 2), roots)
        matrix = torch.where(is_used, solved.transpose(1, 2), self.matrix)
        root = torch.linalg.cholesky(second / len(zeroth))
        self.matrix.copy_(matrix @ root)
        return (total / len(zeroth)).item()

    def _posterior(
        self, zeroth: Tensor, first: Tensor, whitened: Tensor, grams: Tensor
    ) -> Posterior:
        batch, ivector_size = len(zeroth), whitened.shape[2]
        precisions = (zeroth @ grams.flatten(1)).view(
            batch, ivector_size, ivector_size
        )
        precisions.diagonal(dim1=1, dim2=2).add_(1.0)
        roots = torch.linalg.cholesky(precisions)
        whitened_first = first / self.variances.sqrt()
        linear = whitened_first.flatten(1) @ whitened.flatten(0, 1)
        means = torch.cholesky_solve(linear.unsqueeze(2), roots).squeeze(2)
        half_log_det = roots.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        log_likelihoods = 0.5 * (linear * means).sum(dim=1) - half_log_det
        return Posterior(means, roots, log_likelihoods)
