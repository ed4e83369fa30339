"""MFA-Conformer encoder: features to the output of every Conformer block.

Zhang et al., "MFA-Conformer: Multi-scale Feature Aggregation Conformer for
Automatic Speaker Verification", https://arxiv.org/abs/2203.15249; the
encoder of MFCon, https://arxiv.org/abs/2410.05037. Blocks after Gulati et
al., https://arxiv.org/abs/2005.08100, relative positions after Dai et al.,
https://arxiv.org/abs/1901.02860.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_modules.lengths import frame_counts, relative_lengths, valid_frames


def relative_positions(num_frames: int, d_model: int) -> Tensor:
    """Sinusoids of the distances num_frames - 1 … -(num_frames - 1).

    Arguments
    ---------
    num_frames : int
        Frames of the sequence.
    d_model : int
        Channels, even.

    Returns
    -------
    positions : Tensor
        (2 · num_frames - 1, d_model), row 0 for the key that lies
        num_frames - 1 frames before its query.

    Example
    -------
    >>> relative_positions(2, 4)[1]  # distance 0
    tensor([0., 1., 0., 1.])
    """
    distances = torch.arange(num_frames - 1, -num_frames, -1.0)
    scale = -math.log(10000.0) / d_model
    rates = torch.exp(torch.arange(0, d_model, 2) * scale)
    angles = distances.unsqueeze(1) * rates  # (2 T - 1, d_model / 2)
    pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return pairs.flatten(1)  # (2 T - 1, d_model)


class RelativePositionAttention(nn.Module):
    """Multi-head self-attention with relative positions (Transformer-XL).

    The score of query i and key j is, with learned u, v per head,
    ``((q_i + u) · k_j + (q_i + v) · r_{i-j}) / √head_size``, section 3.3 of
    https://arxiv.org/abs/1901.02860. The second term is the bias of torch's
    fused attention.

    Arguments
    ---------
    d_model : int
        Channels.
    num_heads : int
        Heads; divides d_model.

    Example
    -------
    >>> attention = RelativePositionAttention(d_model=8, num_heads=2)
    >>> attention(torch.rand(3, 5, 8), relative_positions(5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, num_heads: int):
        super().__init__()
        if d_model % num_heads:
            raise ValueError(
                f"num_heads ({num_heads}) must divide d_model ({d_model})"
            )
        self.num_heads = num_heads
        head_size = d_model // num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.position = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.empty(num_heads, 1, head_size))
        self.position_bias = nn.Parameter(torch.empty(num_heads, 1, head_size))
        self.output = nn.Linear(d_model, d_model)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Attend to the valid frames.

        Arguments
        ---------
        x : Tensor
            (batch, time, d_model).
        positions : Tensor
            (2 · time - 1, d_model), of `relative_positions`.
        mask : Tensor | None
            (batch, time), True where the frame is valid; None: all are.

        Returns
        -------
        y : Tensor
            (batch, time, d_model); padded frames hold finite values without
            meaning.
        """
        batch, time, d_model = x.shape

        def split(y: Tensor) -> Tensor:
            y = y.unflatten(-1, (self.num_heads, -1))
            return y.transpose(-2, -3)  # (…, heads, time, head size)

        query, key, value = map(split, self.query_key_value(x).chunk(3, -1))
        distances = split(self.position(positions))  # (heads, 2 T - 1, size)
        scores = (query + self.position_bias) @ distances.transpose(-1, -2)
        scale = 1.0 / math.sqrt(query.shape[-1])
        # Row i wants the columns T - 1 - i … 2 T - 2 - i: with one more
        # column, a row shorter by one steps back one column a row.
        bias = F.pad(scores, (1, 0)).flatten(-2)[..., time:]
        bias = bias.unflatten(-1, (time, 2 * time - 1))[..., :time] * scale
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None, :], -math.inf)
        y = F.scaled_dot_product_attention(
            query + self.content_bias,
            key,
            value,
            attn_mask=bias.to(query.dtype),
            scale=scale,
        )  # (batch, heads, time, head size)
        return self.output(y.transpose(1, 2).reshape(batch, time, d_model))


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
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, time, d_model) and mask (batch, time) → the shape of x."""
        x = F.glu(self.gate(x), dim=-1)
        if mask is not None:
            # Else the biases above would leak out of the padding.
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
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
    >>> FeedForward(d_model=8, d_ffn=16)(torch.rand(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, d_ffn: int, dropout: float = 0.0):
        super().__init__(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, d_ffn),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(d_ffn, d_model),
            nn.Dropout(dropout),
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
        self.attention_dropout = nn.Dropout(dropout)
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
                for layer in (nn.Conv2d(sizes[i], channels, 3, 2), nn.ReLU())
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
        x = self.convolutions(feats.unsqueeze(1))  # (batch, C, time', bands)
        return self.linear(x.transpose(1, 2).flatten(2))


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
        self.dropout = nn.Dropout(dropout)
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
        positions = relative_positions(x.shape[1], self.d_model).to(x)
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
