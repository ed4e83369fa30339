"""Dropout whose mask is drawn fast on every processor."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """torch's dropout; on the CPU with uniform random numbers.

    There torch draws Bernoulli numbers, by MKL, which on an AMD EPYC take
    twice the time of uniform ones: in a training step of MFA-Conformer one
    part in eight (`benchmarks`, "dropout").

    Arguments
    ---------
    p : float
        Probability that a number is set to zero; the others are divided by
        1 - p.

    Example
    -------
    >>> _ = torch.manual_seed(0)
    >>> Dropout(0.5)(torch.ones(4))
    tensor([0., 2., 0., 0.])
    >>> Dropout(0.5).eval()(torch.ones(4))
    tensor([1., 1., 1., 1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape → the same shape."""
        if not self.training or x.device.type != "cpu" or self.p in (0, 1):
            return super().forward(x)
        # In float32: of half precision's numbers too many are below p.
        kept = torch.rand(x.shape).ge_(self.p)
        return x * kept.mul_(1 / (1 - self.p)).to(x.dtype)
