"""Parts of the untrained baseline: features as they are.

With `pooling.StatisticsPooling` as head they make mean and deviation of the
features the embedding: what a trained model has to beat.
"""

from torch import Tensor, nn


class Unnormalised(nn.Module):
    """Stand where a normalisation stands, and leave the features alone.

    Example
    -------
    >>> import torch
    >>> Unnormalised()(torch.ones(1, 2, 1))
    tensor([[[1.],
             [1.]]])
    """

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, time, n_mels), lengths (batch,) → feats, unchanged."""
        del lengths
        return feats


class FeatureEncoder(nn.Module):
    """An encoder whose one output is its input.

    Arguments
    ---------
    n_mels : int
        Filterbank channels of the features.

    Example
    -------
    >>> import torch
    >>> outputs, lengths = FeatureEncoder(80)(torch.rand(2, 100, 80))
    >>> len(outputs), outputs[0].shape
    (1, torch.Size([2, 100, 80]))
    """

    def __init__(self, n_mels: int):
        super().__init__()
        self.output_sizes = [n_mels]

    def forward(
        self, feats: Tensor, lengths: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor | None]:
        """(batch, time, n_mels), lengths (batch,) → ([feats], lengths)."""
        return [feats], lengths
