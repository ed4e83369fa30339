"""Embedding heads: frames of one or of all encoder outputs to embeddings.

The head of MFA-Conformer (https://arxiv.org/abs/2203.15249, section 2.3),
one of them on every block for MFCon (https://arxiv.org/abs/2410.05037), and
the dense layers of self multi-head attention
(https://arxiv.org/abs/1906.09890, section 3).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from custom_modules.distributed import (
    SynchronizedBatchNorm,
    synchronize_batch_norms,
)


class EmbeddingHead(nn.Module):
    """Layer norm, pooling over time, batch norm and projection.

    Batch norms, the pooling's too, are over the global batch.

    Arguments
    ---------
    input_size : int
        Channels of the frames.
    emb_dim : int
        Size of the embedding.
    pooling : Callable[[int], nn.Module]
        Factory of a pooling, called with `input_size`.

    Example
    -------
    >>> from custom_modules.pooling import StatisticsPooling
    >>> head = EmbeddingHead(16, emb_dim=8, pooling=StatisticsPooling)
    >>> head(torch.rand(4, 10, 16)).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        input_size: int,
        emb_dim: int,
        pooling: Callable[[int], nn.Module],
    ):
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.pooling = synchronize_batch_norms(pooling(input_size))
        self.batch_norm = SynchronizedBatchNorm(self.pooling.output_size)
        self.projection = nn.Linear(self.pooling.output_size, emb_dim)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, time, input_size), lengths (batch,) → (batch, emb_dim)."""
        x = self.pooling(self.norm(x), lengths)
        return self.projection(self.batch_norm(x))


class DenseHead(nn.Module):
    """Pooling, then dense layers; the embedding is the last of them.

    Batch norm and ReLU follow every layer but the last, dropout every layer:
    the last one stands before the classifier.

    Arguments
    ---------
    input_size : int
        Channels of the frames.
    emb_dim : int
        Size of every dense layer and of the embedding.
    pooling : Callable[[int], nn.Module]
        Factory of a pooling, called with `input_size`.
    num_layers : int
        Dense layers, at least 1.
    dropout : float
        Dropout rate.

    Example
    -------
    >>> from custom_modules.pooling import SelfMultiHeadAttentionPooling
    >>> from functools import partial
    >>> pooling = partial(SelfMultiHeadAttentionPooling, num_heads=4)
    >>> head = DenseHead(16, emb_dim=8, pooling=pooling)
    >>> head(torch.rand(4, 10, 16)).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        input_size: int,
        emb_dim: int,
        pooling: Callable[[int], nn.Module],
        num_layers: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers ({num_layers}) must be at least 1")
        self.pooling = synchronize_batch_norms(pooling(input_size))
        sizes = [self.pooling.output_size] + [emb_dim] * (num_layers - 1)
        hidden = [
            layer
            for size in sizes[:-1]
            for layer in (
                nn.Linear(size, emb_dim),
                SynchronizedBatchNorm(emb_dim),
                nn.ReLU(),
                nn.Dropout(dropout),
            )
        ]
        self.layers = nn.Sequential(
            *hidden, nn.Linear(sizes[-1], emb_dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, time, input_size), lengths (batch,) → (batch, emb_dim)."""
        return self.layers(self.pooling(x, lengths))


class LinearClassifier(nn.Linear):
    """A linear layer before the softmax: embeddings to logits.

    Called as SpeechBrain's ECAPA `Classifier` is, whose outputs are cosines.

    Arguments
    ---------
    input_size : int
        Size of the embedding.
    out_neurons : int
        Training speakers.

    Example
    -------
    >>> LinearClassifier(8, out_neurons=5)(torch.rand(4, 8)).shape
    torch.Size([4, 5])
    """

    def __init__(self, input_size: int, out_neurons: int):
        super().__init__(input_size, out_neurons)


class BlockHeads(nn.Module):
    """One head for each block, for losses on intermediate embeddings.

    MFCon, https://arxiv.org/abs/2410.05037, section 3; sharing is its
    Table II.

    Arguments
    ---------
    input_sizes : list[int]
        Channels of every encoder output.
    head : Callable[[int], nn.Module]
        Factory of a head, called with one of `input_sizes`.
    blocks : list[int] | None
        Blocks that get a head, counted from 0; None is all of them.
    share_pooling : bool
        Give every head the first one's pooling.
    share_projection : bool
        Give every head the first one's projection.

    Example
    -------
    >>> from functools import partial
    >>> from custom_modules.pooling import StatisticsPooling
    >>> head = partial(EmbeddingHead, emb_dim=8, pooling=StatisticsPooling)
    >>> block_heads = BlockHeads([16, 16, 16], head, blocks=[0, 2])
    >>> block_outputs = [torch.rand(4, 10, 16) for _ in range(3)]
    >>> [tuple(e.shape) for e in block_heads(block_outputs)]
    [(4, 8), (4, 8)]
    """

    def __init__(
        self,
        input_sizes: list[int],
        head: Callable[[int], nn.Module],
        blocks: list[int] | None = None,
        share_pooling: bool = False,
        share_projection: bool = False,
    ):
        super().__init__()
        indices = range(len(input_sizes))
        self.blocks = list(indices) if blocks is None else list(blocks)
        unknown = [block for block in self.blocks if block not in indices]
        if unknown or len(set(self.blocks)) < len(self.blocks):
            raise ValueError(
                f"blocks ({blocks}) must be different numbers from 0 to "
                f"{len(input_sizes) - 1}: the encoder has "
                f"{len(input_sizes)} outputs"
            )
        self.heads = nn.ModuleList(
            head(input_sizes[block]) for block in self.blocks
        )
        if self.blocks and (share_pooling or share_projection):
            sizes = {input_sizes[block] for block in self.blocks}
            if len(sizes) > 1:
                raise ValueError(
                    f"heads of different input sizes ({sorted(sizes)}) cannot "
                    "share: set share_pooling and share_projection to False"
                )
        for other in self.heads[1:]:
            if share_pooling:
                other.pooling = self.heads[0].pooling
            if share_projection:
                other.projection = self.heads[0].projection

    def forward(
        self, block_outputs: list[Tensor], lengths: Tensor | None = None
    ) -> list[Tensor]:
        """Embed the outputs of the chosen blocks.

        Arguments
        ---------
        block_outputs : list[Tensor]
            Every encoder output, (batch, time, input_sizes[i]).
        lengths : Tensor | None
            Relative lengths (batch,).

        Returns
        -------
        block_embeddings : list[Tensor]
            One (batch, emb_dim) per entry of `blocks`.
        """
        return [
            head(block_outputs[block], lengths)
            for head, block in zip(self.heads, self.blocks, strict=True)
        ]


class SpeakerEmbedder(nn.Module):
    """Encoder and embedding head as SpeechBrain's `embedding_model`.

    Arguments
    ---------
    encoder : nn.Module
        Features → (list of outputs, lengths).
    embedding_head : nn.Module
        Head on all the outputs, concatenated over channels.

    Example
    -------
    >>> from custom_modules.conformer import MFAConformer
    >>> from custom_modules.pooling import StatisticsPooling
    >>> encoder = MFAConformer(d_model=16, num_blocks=2, d_ffn=32)
    >>> head = EmbeddingHead(32, emb_dim=8, pooling=StatisticsPooling)
    >>> SpeakerEmbedder(encoder, head)(torch.rand(4, 100, 80)).shape
    torch.Size([4, 1, 8])
    """

    def __init__(self, encoder: nn.Module, embedding_head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.embedding_head = embedding_head

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, time, n_mels), lengths (batch,) → (batch, 1, emb_dim)."""
        outputs, lengths = self.encoder(feats, lengths)
        embeddings = self.embedding_head(torch.cat(outputs, dim=-1), lengths)
        return embeddings.unsqueeze(1)
