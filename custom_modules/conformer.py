"""MFA-Conformer encoder: features to the output of every Conformer block.

Zhang et al., "MFA-Conformer: Multi-scale Feature Aggregation Conformer for
Automatic Speaker Verification", https://arxiv.org/abs/2203.15249; the
encoder of MFCon, https://arxiv.org/abs/2410.05037. Blocks after Gulati et
al., https://arxiv.org/abs/2005.08100.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from custom_modules.attention import (
    RelativePositionAttention,
    relative_positions,
)
from custom_modules.dropout import Dropout
from custom_modules.lengths import frame_counts, relative_lengths, valid_frames
from custom_modules.subsampling import ConvolutionalSubsampling


class ConvolutionModule(nn.Module):
    """The Conformer's convolution: gate, depthwise over time, pointwise.

    Layer norm stands where the Conformer paper has batch norm, as in
    SpeechBrain's Conformer: it knows neither padding nor ranks.

    Arguments
    ---------
    d_model : int
        Channels.
    kernel_size : int
        Frames of the depthwise convolution, odd.
    dropout : float
        Dropout rate of the output.

    Example
    -------
    >>> import torch
    >>> ConvolutionModule(d_model=8, kernel_size=3)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, kernel_size: int, dropout: float = 0.0):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size ({kernel_size}) must be odd, so that the output "
                "has as many frames as the input"
            )
        self.gate = nn.Linear(d_model, 2 * d_model)
        self.depthwise = nn.Conv1d(
            d_model,
            d_model,
            kernel_size,
            padding=kernel_size // 2,
            groups=d_model,
        )
        self.norm = nn.LayerNorm(d_model)
        self.pointwise = nn.Linear(d_model, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, time, d_model) and mask (batch, time) → the shape of x."""
        x = F.glu(self.gate(x), dim=-1)
        if mask is not None:
            # Else the biases above would leak out of the padding.
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        # As an image of (time, 1) whose channels lie next to each other: no
        # copy, and three times as fast on the CPU as in one dimension.
        image = x.transpose(1, 2).unsqueeze(-1)
        x = F.conv2d(
            image,
            self.depthwise.weight.unsqueeze(-1),
            self.depthwise.bias,
            padding=(self.depthwise.padding[0], 0),
            groups=self.depthwise.groups,
        )  # (batch, d_model, time, 1)
        x = x.squeeze(-1).transpose(1, 2)
        return self.dropout(self.pointwise(F.silu(self.norm(x))))


class FeedForward(nn.Sequential):
    """Layer norm, expansion to d_ffn, swish, projection back.

    Arguments
    ---------
    d_model : int
        Channels.
    d_ffn : int
        Hidden channels.
    dropout : float
        Dropout rate after each linear layer.

    Example
    -------
    >>> import torch
    >>> FeedForward(d_model=8, d_ffn=16)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, d_ffn: int, dropout: float = 0.0):
        super().__init__(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, d_ffn),
            nn.SiLU(),
            Dropout(dropout),
            nn.Linear(d_ffn, d_model),
            Dropout(dropout),
        )


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, norm.

    Equation (1) of https://arxiv.org/abs/2005.08100.

    Arguments
    ---------
    d_model : int
        Channels.
    num_heads : int
        Attention heads.
    d_ffn : int
        Hidden channels of the feed-forward modules.
    kernel_size : int
        Frames of the depthwise convolution, odd.
    dropout : float
        Dropout rate.

    Example
    -------
    >>> import torch
    >>> block = ConformerBlock(8, num_heads=2, d_ffn=16, kernel_size=3)
    >>> block(torch.rand(2, 5, 8), relative_positions(5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ffn: int,
        kernel_size: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.first_ffn = FeedForward(d_model, d_ffn, dropout)
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = RelativePositionAttention(d_model, num_heads)
        self.attention_dropout = Dropout(dropout)
        self.convolution_norm = nn.LayerNorm(d_model)
        self.convolution = ConvolutionModule(d_model, kernel_size, dropout)
        self.second_ffn = FeedForward(d_model, d_ffn, dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """x (batch, time, d_model), positions (2 · time - 1, d_model), mask
        (batch, time) → (batch, time, d_model)."""
        x = x + 0.5 * self.first_ffn(x)
        attended = self.attention(self.attention_norm(x), positions, mask)
        x = x + self.attention_dropout(attended)
        x = x + self.convolution(self.convolution_norm(x), mask)
        x = x + 0.5 * self.second_ffn(x)
        return self.norm(x)


class MFAConformer(nn.Module):
    """Conformer whose blocks all give their output.

    Arguments
    ---------
    n_mels : int
        Filterbank channels of the features.
    d_model : int
        Channels of each block.
    num_blocks : int
        Blocks, any number from 1.
    num_heads : int
        Attention heads; divides d_model.
    d_ffn : int
        Hidden channels of the feed-forward modules.
    kernel_size : int
        Frames of the depthwise convolutions, odd.
    dropout : float
        Dropout rate; attention weights have none, as published.
    subsampling : int
        Feature frames for each frame of the blocks: 2, 4 or 8.
    subsampling_channels : int | None
        Channels of the subsampling convolutions; None is d_model.

    Example
    -------
    >>> import torch
    >>> encoder = MFAConformer(d_model=16, num_blocks=3, d_ffn=32)
    >>> outputs, lengths = encoder(torch.rand(2, 100, 80))
    >>> [tuple(output.shape) for output in outputs]
    [(2, 49, 16), (2, 49, 16), (2, 49, 16)]
    >>> encoder.output_sizes
    [16, 16, 16]
    """

    def __init__(
        self,
        n_mels: int = 80,
        d_model: int = 256,
        num_blocks: int = 6,
        num_heads: int = 4,
        d_ffn: int = 2048,
        kernel_size: int = 15,
        dropout: float = 0.1,
        subsampling: int = 2,
        subsampling_channels: int | None = None,
    ):
        super().__init__()
        if num_blocks < 1:
            raise ValueError(f"num_blocks ({num_blocks}) must be at least 1")
        if d_model % 2:
            raise ValueError(
                f"d_model ({d_model}) must be even: positions are pairs of "
                "sine and cosine"
            )
        self.d_model = d_model
        self.output_sizes = [d_model] * num_blocks
        self.subsampling = ConvolutionalSubsampling(
            n_mels, d_model, subsampling, subsampling_channels
        )
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(d_model, num_heads, d_ffn, kernel_size, dropout)
            for _ in range(num_blocks)
        )

    def forward(
        self, feats: Tensor, lengths: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor | None]:
        """Encode features.

        Arguments
        ---------
        feats : Tensor
            (batch, time, n_mels); what lies in the padding has no influence.
        lengths : Tensor | None
            Relative lengths (batch,), as `custom_modules.lengths` has them.

        Returns
        -------
        block_outputs : list[Tensor]
            One (batch, time', d_model) per block.
        lengths : Tensor | None
            Relative lengths (batch,) of the outputs; None if given None.

        Raises
        ------
        ValueError
            Where a sequence is too short to leave one frame.
        """
        mask = None
        if lengths is None:
            self._check_length(feats.shape[1])
            x = self.dropout(self.subsampling(feats))
        else:
            counts = frame_counts(lengths, feats)
            self._check_length(int(counts.min()))
            padding = ~valid_frames(lengths, feats)
            feats = feats.masked_fill(padding.unsqueeze(-1), 0.0)
            x = self.dropout(self.subsampling(feats))
            lengths = relative_lengths(self.subsampling.num_frames(counts))
            mask = valid_frames(lengths, x)
        positions = relative_positions(x.shape[1], self.d_model, x.device)
        positions = positions.to(x.dtype)
        block_outputs = []
        for block in self.blocks:
            x = block(x, positions, mask)
            block_outputs.append(x)
        return block_outputs, lengths

    def _check_length(self, num_frames: int) -> None:
        if self.subsampling.num_frames(num_frames) < 1:
            raise ValueError(
                f"the shortest sequence has {num_frames} feature frames, too "
                "few to leave one after subsampling: leave out utterances "
                "under 0.2 s"
            )
