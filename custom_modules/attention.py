"""Self-attention with relative positions, as the Conformer uses it.

Dai et al., "Transformer-XL", https://arxiv.org/abs/1901.02860, section 3.3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relative_positions(
    num_frames: int, d_model: int, device: torch.device | None = None
) -> Tensor:
    """Sinusoids of the distances num_frames - 1 … -(num_frames - 1).

    Arguments
    ---------
    num_frames : int
        Frames of the sequence.
    d_model : int
        Channels, even.
    device : torch.device | None
        Where to make them; None is torch's default.

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
    distances = torch.arange(num_frames - 1, -num_frames, -1.0, device=device)
    scale = -math.log(10000.0) / d_model
    rates = torch.exp(torch.arange(0, d_model, 2, device=device) * scale)
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
        # Row i wants the columns T - 1 - i … 2 T - 2 - i: from the place of
        # its first on, rows shorter by one step back one column a row.
        width = max(1, 2 * time - 2)
        # Not by slices, of which exporters do not know the length.
        bias = scores.flatten(-2).narrow(-1, time - 1, time * width)
        bias = bias.unflatten(-1, (time, width)).narrow(-1, 0, time) * scale
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
