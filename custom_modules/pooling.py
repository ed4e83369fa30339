"""Poolings: frames (batch, time, input_size) to one vector per utterance.

Each is a module with an attribute ``output_size`` and
``forward(x, lengths=None)``; ``lengths`` are those of
`custom_modules.lengths`. Padded frames are zeroed first, so that whatever
they hold, NaN included, reaches neither the output nor a gradient. Poolings
compute in float32 at least, under autocast too: sums over time lose too much
in half precision.

Their parameters start as in the authors' code,
https://github.com/miquelindia90/DoubleAttentionSpeakerVerification, and in
SpeechBrain.
"""

import math

import torch
import torch.nn.functional as F
from speechbrain.lobes.models import ECAPA_TDNN
from torch import Tensor, nn

from custom_modules.lengths import valid_frames

# Floor of variances, SpeechBrain's: below it the gradient of the square root
# is cut to zero instead of growing without bound.
EPS = 1e-12


class TemporalAveragePooling(nn.Module):
    """Average each channel over the valid frames.

    Equation (1) of https://arxiv.org/abs/1803.10963.

    Arguments
    ---------
    input_size : int
        Channels of the frames, at least 1.

    Raises
    ------
    ValueError
        Where ``input_size`` is not positive.

    Example
    -------
    >>> pooling = TemporalAveragePooling(1)
    >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> pooling(x), pooling(x, torch.tensor([0.5]))
    (tensor([[4.3333]]), tensor([[2.]]))
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        _check_positive("input_size", input_size)
        self.output_size = input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool the frames.

        Shape: x (batch, time, input_size), lengths (batch,)
        -> (batch, input_size).
        """
        x, valid = _zero_padding(x, lengths)
        if valid is None:
            return x.mean(dim=1)
        return x.sum(dim=1) / valid.sum(dim=1)


class StatisticsPooling(nn.Module):
    """Concatenate mean and standard deviation over the valid frames.

    Equations (1) and (2) of https://arxiv.org/abs/1803.10963. The deviation
    is the population's, sqrt(max(sum_t (x_t - mean)^2 / n, 1e-12)): 1e-6,
    with a gradient of zero, where a channel is constant or has one frame.

    Arguments
    ---------
    input_size : int
        Channels of the frames, at least 1.

    Raises
    ------
    ValueError
        Where ``input_size`` is not positive.

    Example
    -------
    >>> StatisticsPooling(1)(torch.tensor([[[1.0], [3.0]]]))
    tensor([[2., 1.]])
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        _check_positive("input_size", input_size)
        self.output_size = 2 * input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool the frames.

        Shape: x (batch, time, input_size), lengths (batch,)
        -> (batch, 2 * input_size), means before deviations.
        """
        return _statistics(*_zero_padding(x, lengths))


class AttentiveStatisticsPooling(nn.Module):
    """Concatenate mean and standard deviation, both weighted by attention.

    Equations (5) and (6) of https://arxiv.org/abs/1803.10963, with one
    softmax over time for each channel and the utterance's mean and
    deviation as context, as in https://arxiv.org/abs/2005.07143. The
    attention network is SpeechBrain's, as its ``AttentiveStatisticsPooling``
    builds it, and full utterances give the same numbers.

    It holds a batch norm, which SpeechBrain feeds with the padding too; here
    it sees valid frames alone. In training an utterance therefore depends on
    the others of its batch, never on padding, and a batch of one utterance
    of one frame is torch's error.

    Arguments
    ---------
    input_size : int
        Channels of the frames, at least 1.
    attention_channels : int
        Width of the attention network, at least 1.
    global_context : bool
        Whether the attention sees the utterance's mean and deviation.

    Raises
    ------
    ValueError
        Where ``input_size`` or ``attention_channels`` is not positive.

    Example
    -------
    >>> pooling = AttentiveStatisticsPooling(64)
    >>> pooling(torch.rand(8, 120, 64)).shape
    torch.Size([8, 128])
    """

    def __init__(
        self,
        input_size: int,
        attention_channels: int = 128,
        global_context: bool = True,
    ) -> None:
        super().__init__()
        _check_positive("input_size", input_size)
        _check_positive("attention_channels", attention_channels)
        speechbrains = ECAPA_TDNN.AttentiveStatisticsPooling(
            input_size, attention_channels, global_context
        )
        self.tdnn = speechbrains.tdnn
        self.conv = speechbrains.conv
        self.input_size = input_size
        self.global_context = global_context
        self.output_size = 2 * input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool the frames.

        Shape: x (batch, time, input_size), lengths (batch,)
        -> (batch, 2 * input_size), means before deviations.
        """
        x, valid = _zero_padding(x, lengths)
        return _weighted_statistics(x, self._weights(x, valid))

    def attention_weights(
        self, x: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Weigh the frames: what each channel attends to.

        Arguments
        ---------
        x : Tensor
            Frames (batch, time, input_size).
        lengths : Tensor | None
            Relative lengths (batch,); None means all full.

        Returns
        -------
        weights : Tensor
            (batch, time, input_size): a head for each channel; sum to 1 over
            time, 0 on padding.

        Example
        -------
        >>> pooling = AttentiveStatisticsPooling(2).eval()
        >>> weights = pooling.attention_weights(torch.rand(1, 5, 2))
        >>> weights.shape, weights.sum(dim=1).round().tolist()
        (torch.Size([1, 5, 2]), [[1.0, 1.0]])
        """
        return self._weights(*_zero_padding(x, lengths))

    def _weights(self, x: Tensor, valid: Tensor | None) -> Tensor:
        # Both convolutions have a kernel of 1: linear maps of each frame. The
        # context is the same for all frames, so its part is computed once.
        hidden = self.tdnn.conv.conv
        weight, bias = hidden.weight.squeeze(2), hidden.bias
        scores = F.linear(x, weight[:, : self.input_size], bias)
        if self.global_context:
            context = F.linear(
                _statistics(x, valid), weight[:, self.input_size :]
            )
            scores = scores + context.unsqueeze(1)
        scores = self._normalise(F.relu(scores), valid)
        output = self.conv.conv
        scores = F.linear(
            torch.tanh(scores), output.weight.squeeze(2), output.bias
        )  # (batch, time, input_size)
        if valid is not None:
            scores = scores.masked_fill(~valid, -math.inf)
        return F.softmax(scores.to(x.dtype), dim=1)

    def _normalise(self, hidden: Tensor, valid: Tensor | None) -> Tensor:
        """Batch norm of (batch, time, channels) over the valid frames."""
        norm = self.tdnn.norm.norm
        if valid is None or not self.training:
            return norm(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        return torch.zeros_like(hidden).masked_scatter(
            valid, norm(hidden[valid.squeeze(2)])
        )


class SelfMultiHeadAttentionPooling(nn.Module):
    """Average each head's part of the frames by attention over time.

    Equation (3) of https://arxiv.org/abs/1906.09890: frame h_t is cut into
    ``num_heads`` equal parts h_tj, and with a trained query u_j for each,

        w_tj = exp(u_j' h_tj) / sum_t exp(u_j' h_tj)
        c_j = sum_t w_tj h_tj,    output = [c_1 ... c_num_heads].

    One head is the paper's vanilla attention.

    Arguments
    ---------
    input_size : int
        Channels of the frames, at least 1.
    num_heads : int
        Heads; must divide ``input_size``.
    scaled : bool
        Whether scores are divided by sqrt(head size), which the paper does
        not. The authors' later code divides by sqrt(num_heads).

    Raises
    ------
    ValueError
        Where a size is not positive or ``num_heads`` does not divide
        ``input_size``.

    Example
    -------
    >>> pooling = SelfMultiHeadAttentionPooling(64, num_heads=8)
    >>> x = torch.rand(4, 10, 64)
    >>> pooling(x).shape, pooling.attention_weights(x).shape
    (torch.Size([4, 64]), torch.Size([4, 10, 8]))
    """

    def __init__(
        self, input_size: int, num_heads: int, scaled: bool = False
    ) -> None:
        super().__init__()
        _check_positive("input_size", input_size)
        _check_positive("num_heads", num_heads)
        if input_size % num_heads:
            raise ValueError(
                f"num_heads ({num_heads}) must divide input_size "
                f"({input_size}): change one of them"
            )
        head_size = input_size // num_heads
        self.queries = nn.Parameter(torch.empty(num_heads, head_size))
        nn.init.xavier_normal_(self.queries)
        # The authors' code takes the last axis of its (head size, num_heads)
        # queries for the head size and divides by sqrt(num_heads).
        self.scale = 1 / math.sqrt(head_size) if scaled else 1.0
        self.output_size = input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool the frames.

        Shape: x (batch, time, input_size), lengths (batch,)
        -> (batch, input_size), the heads one after the other.
        """
        heads, valid = self._split(x, lengths)
        weights = self._weights(heads, valid).unsqueeze(3)
        return (weights * heads).sum(dim=1).flatten(1)  # (batch, input_size)

    def attention_weights(
        self, x: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Weigh the frames: what each head attends to.

        Arguments
        ---------
        x : Tensor
            Frames (batch, time, input_size).
        lengths : Tensor | None
            Relative lengths (batch,); None means all full.

        Returns
        -------
        weights : Tensor
            w_tj above (batch, time, num_heads): sum to 1 over time, 0 on
            padding.

        Example
        -------
        >>> pooling = SelfMultiHeadAttentionPooling(2, num_heads=1)
        >>> pooling.attention_weights(torch.zeros(1, 2, 2)).flatten()
        tensor([0.5000, 0.5000], grad_fn=<ViewBackward0>)
        """
        return self._weights(*self._split(x, lengths))

    def _split(
        self, x: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        x, valid = _zero_padding(x, lengths)
        heads = x.unflatten(2, self.queries.shape)
        return heads, valid  # (batch, time, heads, size), (batch, time, 1)

    def _weights(self, heads: Tensor, valid: Tensor | None) -> Tensor:
        # Products and a sum, no matmul: autocast leaves these in float32.
        scores = (heads * self.queries).sum(dim=3)  # (batch, time, heads)
        scores = self.scale * scores
        if valid is not None:
            scores = scores.masked_fill(~valid, -math.inf)
        return F.softmax(scores, dim=1)


class DoubleMultiHeadAttentionPooling(nn.Module):
    """Average the heads of self multi-head attention by attention over heads.

    https://arxiv.org/abs/2007.13199: with c_j the vectors that the pooling
    above gives and u' a trained query,

        w'_j = exp(u'' c_j) / sum_j exp(u'' c_j),    output = sum_j w'_j c_j

    where u'' is u' transposed. In training, head dropout leaves random heads
    of each utterance out of this softmax. The authors' code gives NaN where
    it drops them all; here one, drawn at random, always stays.

    Arguments
    ---------
    input_size : int
        Channels of the frames, at least 1.
    num_heads : int
        Heads; must divide ``input_size``.
    head_dropout : float
        Probability in [0, 1) that a head is dropped.
    scaled : bool
        Whether the scores over time are divided by sqrt(head size); those
        over heads are not. The authors' code divides by sqrt(num_heads).

    Raises
    ------
    ValueError
        Where a size is not positive, ``num_heads`` does not divide
        ``input_size``, or ``head_dropout`` is outside [0, 1).

    Example
    -------
    >>> pooling = DoubleMultiHeadAttentionPooling(64, num_heads=8)
    >>> pooling(torch.rand(4, 10, 64)).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        input_size: int,
        num_heads: int,
        head_dropout: float = 0.0,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= head_dropout < 1:
            raise ValueError(
                f"head_dropout ({head_dropout}) must be in [0, 1): it is the "
                "probability that a head is dropped"
            )
        self.utterance_attention = SelfMultiHeadAttentionPooling(
            input_size, num_heads, scaled
        )
        head_size = input_size // num_heads
        # Xavier's normal for the authors' (head size, 1) matrix.
        self.head_query = nn.Parameter(torch.empty(head_size))
        nn.init.normal_(self.head_query, std=math.sqrt(2 / (head_size + 1)))
        self.num_heads = num_heads
        self.head_dropout = head_dropout
        self.output_size = head_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool the frames.

        Shape: x (batch, time, input_size), lengths (batch,)
        -> (batch, input_size / num_heads).
        """
        pooled = self.utterance_attention(x, lengths)
        heads = pooled.unflatten(1, (self.num_heads, -1))
        scores = (heads * self.head_query).sum(dim=2)  # (batch, heads)
        if self.training and self.head_dropout > 0:
            scores = scores.masked_fill(self._draw_drops(scores), -math.inf)
        weights = F.softmax(scores, dim=1).unsqueeze(2)
        return (weights * heads).sum(dim=1)  # (batch, head size)

    def _draw_drops(self, scores: Tensor) -> Tensor:
        draws = torch.rand_like(scores)
        highest = draws.argmax(dim=1, keepdim=True)
        # Where the highest draw is dropped, so are all: it alone is kept.
        return (draws < self.head_dropout).scatter(1, highest, False)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} ({value}) must be at least 1")


def _zero_padding(
    x: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Frames in float32 at least, and which are valid (batch, time, 1).

    None where all are: then there is nothing to do.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if lengths is None:
        return x, None
    valid = valid_frames(lengths, x).unsqueeze(2)
    return x.masked_fill(~valid, 0.0), valid


def _statistics(x: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        mean = x.mean(dim=1, keepdim=True)  # torch.var_mean takes twice as long
        variance = (x - mean).square().mean(dim=1)
        return _mean_and_deviation(mean.squeeze(1), variance)
    weights = valid.to(x.dtype)
    return _weighted_statistics(x, weights / weights.sum(dim=1, keepdim=True))


def _weighted_statistics(x: Tensor, weights: Tensor) -> Tensor:
    mean = (weights * x).sum(dim=1, keepdim=True)  # (batch, 1, channels)
    variance = (weights * (x - mean).square()).sum(dim=1)
    return _mean_and_deviation(mean.squeeze(1), variance)


def _mean_and_deviation(mean: Tensor, variance: Tensor) -> Tensor:
    return torch.cat([mean, variance.clamp(min=EPS).sqrt()], dim=1)
