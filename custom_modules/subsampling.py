"""The front end of the Conformer: fewer frames, of more channels.

One convolution of stride 2 for each factor of 2, as in the published code of
MFA-Conformer, https://arxiv.org/abs/2203.15249.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvolutionalSubsampling(nn.Module):
    """3 x 3 convolutions of stride 2 over time and frequency, then linear.

    One convolution for each factor of 2, without padding, so a frame of the
    output sees real frames alone: the front end of the published code.

    Arguments
    ---------
    n_mels : int
        Filterbank channels.
    d_model : int
        Output channels.
    subsampling : int
        Input frames for each output frame: 2, 4 or 8.
    channels : int | None
        Channels of the convolutions; None is d_model, as published. With
        several convolutions the cost grows with its square.

    Example
    -------
    >>> front_end = ConvolutionalSubsampling(80, 16, subsampling=2)
    >>> front_end(torch.rand(2, 100, 80)).shape
    torch.Size([2, 49, 16])
    >>> front_end.num_frames(100)
    49
    """

    def __init__(
        self,
        n_mels: int,
        d_model: int,
        subsampling: int = 2,
        channels: int | None = None,
    ):
        super().__init__()
        if subsampling not in (2, 4, 8):
            raise ValueError(f"subsampling ({subsampling}) must be 2, 4 or 8")
        self.num_convolutions = subsampling.bit_length() - 1
        bands = self.num_frames(n_mels)
        if bands < 1:
            raise ValueError(
                f"n_mels ({n_mels}) leaves no band after subsampling by "
                f"{subsampling}: at least {2 * subsampling - 1} are needed"
            )
        channels = channels or d_model
        sizes = [1] + [channels] * self.num_convolutions
        self.convolutions = nn.Sequential(
            *(
                layer
                for i in range(self.num_convolutions)
                for layer in (
                    nn.Conv2d(sizes[i], channels, 3, 2),
                    nn.ReLU(inplace=True),
                )
            )
        )
        self.linear = nn.Linear(channels * bands, d_model)

    def num_frames(self, size: Tensor | int) -> Tensor | int:
        """Output frames (or bands) of `size` input frames (or bands)."""
        for _ in range(self.num_convolutions):
            size = (size - 1) // 2
        return size

    def forward(self, feats: Tensor) -> Tensor:
        """(batch, time, n_mels) → (batch, time', d_model)."""
        image = feats.unsqueeze(1)
        image = image.contiguous(memory_format=torch.channels_last)
        x = self.convolutions(image)  # (batch, C, time', bands)
        # Its channels lie next to each other. To put the small weights in
        # this order is cheaper than to put the outputs in theirs.
        weight = self.linear.weight.unflatten(1, (x.shape[1], -1))
        weight = weight.transpose(1, 2).flatten(1)  # (d_model, bands * C)
        frames = x.permute(0, 2, 3, 1).flatten(2)  # (batch, time', bands * C)
        return F.linear(frames, weight, self.linear.bias)
