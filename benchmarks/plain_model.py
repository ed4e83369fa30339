"""MFA-Conformer and MFCon's loss, written plainly: the reference to beat.

The mathematics of `custom_modules` as the published code writes it: attention
with explicit matrices, pointwise convolutions over transposed frames,
SpeechBrain's attentive statistics, a head for each block one after the other,
a loss call for each head. Parameters have the names of ours, so that
`copy_parameters` can give both the same. Crops are full: no padding.
"""

import math

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import SupConLoss
from speechbrain.lobes.models import ECAPA_TDNN
from torch import Tensor, nn

from custom_modules.attention import relative_positions


class PlainSubsampling(nn.Module):
    """One 3 x 3 convolution of stride 2, then linear."""

    def __init__(self, n_mels: int, d_model: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, d_model, 3, 2), nn.ReLU()
        )
        self.linear = nn.Linear(d_model * ((n_mels - 1) // 2), d_model)

    def forward(self, feats: Tensor) -> Tensor:
        """(batch, time, n_mels) → (batch, time', d_model)."""
        x = self.convolutions(feats.unsqueeze(1))  # (batch, C, time', bands)
        return self.linear(x.transpose(1, 2).flatten(2))


class PlainFeedForward(nn.Sequential):
    """Layer norm, expansion, swish, projection back."""

    def __init__(self, d_model: int, d_ffn: int, dropout: float):
        super().__init__(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, d_ffn),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(d_ffn, d_model),
            nn.Dropout(dropout),
        )


class PlainAttention(nn.Module):
    """Relative-position attention by its two matrices of scores."""

    def __init__(self, d_model: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        head_size = d_model // num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.position = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, 1, head_size))
        self.position_bias = nn.Parameter(torch.zeros(num_heads, 1, head_size))
        self.output = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(batch, time, d_model), (2 · time - 1, d_model) → (batch, time,
        d_model)."""
        batch, time, d_model = x.shape
        query, key, value = (
            y.view(batch, time, self.num_heads, -1).transpose(1, 2)
            for y in self.query_key_value(x).chunk(3, -1)
        )
        distances = self.position(positions)
        distances = distances.view(1, 2 * time - 1, self.num_heads, -1)
        distances = distances.transpose(1, 2)
        content = (query + self.content_bias) @ key.transpose(-2, -1)
        relative = (query + self.position_bias) @ distances.transpose(-2, -1)
        relative = F.pad(relative, (1, 0))
        relative = relative.view(batch, self.num_heads, 2 * time, time)
        relative = relative[:, :, 1:].view(
            batch, self.num_heads, time, 2 * time - 1
        )[..., :time]
        scores = (content + relative) / math.sqrt(d_model // self.num_heads)
        y = scores.softmax(-1) @ value  # (batch, heads, time, head size)
        return self.output(y.transpose(1, 2).reshape(batch, time, d_model))


class PlainConvolution(nn.Module):
    """Gate, depthwise and pointwise convolutions over (batch, C, time)."""

    def __init__(self, d_model: int, kernel_size: int, dropout: float):
        super().__init__()
        self.gate = nn.Conv1d(d_model, 2 * d_model, 1)
        self.depthwise = nn.Conv1d(
            d_model,
            d_model,
            kernel_size,
            padding=kernel_size // 2,
            groups=d_model,
        )
        self.norm = nn.LayerNorm(d_model)
        self.pointwise = nn.Conv1d(d_model, d_model, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, d_model) → the same shape."""
        x = F.glu(self.gate(x.transpose(1, 2)), dim=1)
        x = self.norm(self.depthwise(x).transpose(1, 2))
        x = self.pointwise(F.silu(x).transpose(1, 2))
        return self.dropout(x.transpose(1, 2))


class PlainBlock(nn.Module):
    """A Conformer block."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ffn: int,
        kernel_size: int,
        dropout: float,
    ):
        super().__init__()
        self.first_ffn = PlainFeedForward(d_model, d_ffn, dropout)
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = PlainAttention(d_model, num_heads)
        self.attention_dropout = nn.Dropout(dropout)
        self.convolution_norm = nn.LayerNorm(d_model)
        self.convolution = PlainConvolution(d_model, kernel_size, dropout)
        self.second_ffn = PlainFeedForward(d_model, d_ffn, dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(batch, time, d_model) → the same shape."""
        x = x + 0.5 * self.first_ffn(x)
        attended = self.attention(self.attention_norm(x), positions)
        x = x + self.attention_dropout(attended)
        x = x + self.convolution(self.convolution_norm(x))
        x = x + 0.5 * self.second_ffn(x)
        return self.norm(x)


class PlainEncoder(nn.Module):
    """MFA-Conformer; subsampling by 2, as published."""

    def __init__(
        self,
        n_mels: int,
        d_model: int,
        num_blocks: int,
        num_heads: int,
        d_ffn: int,
        kernel_size: int,
        dropout: float,
    ):
        super().__init__()
        self.d_model = d_model
        self.subsampling = PlainSubsampling(n_mels, d_model)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            PlainBlock(d_model, num_heads, d_ffn, kernel_size, dropout)
            for _ in range(num_blocks)
        )

    def forward(self, feats: Tensor) -> tuple[list[Tensor], None]:
        """(batch, time, n_mels) → each block's (batch, time', d_model)."""
        x = self.dropout(self.subsampling(feats))
        positions = relative_positions(x.shape[1], self.d_model).to(x)
        outputs = []
        for block in self.blocks:
            x = block(x, positions)
            outputs.append(x)
        return outputs, None


class PlainHead(nn.Module):
    """Layer norm, SpeechBrain's pooling, batch norm, projection."""

    def __init__(self, input_size: int, emb_dim: int, attention_channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.pooling = ECAPA_TDNN.AttentiveStatisticsPooling(
            input_size, attention_channels
        )
        self.batch_norm = nn.BatchNorm1d(2 * input_size)
        self.projection = nn.Linear(2 * input_size, emb_dim)

    def forward(self, x: Tensor, lengths: None = None) -> Tensor:
        """(batch, time, input_size) → (batch, emb_dim)."""
        pooled = self.pooling(self.norm(x).transpose(1, 2)).squeeze(2)
        return self.projection(self.batch_norm(pooled))


class PlainBlockHeads(nn.Module):
    """A head for each block."""

    def __init__(
        self,
        num_blocks: int,
        d_model: int,
        emb_dim: int,
        attention_channels: int,
    ):
        super().__init__()
        self.heads = nn.ModuleList(
            PlainHead(d_model, emb_dim, attention_channels)
            for _ in range(num_blocks)
        )

    def forward(
        self, block_outputs: list[Tensor], lengths: None = None
    ) -> list[Tensor]:
        """Each (batch, time, d_model) → (batch, emb_dim)."""
        return [
            head(x) for head, x in zip(self.heads, block_outputs, strict=True)
        ]


class PlainObjective:
    """AM-Softmax + MFCon + SupCon, each head's loss by a call of its own."""

    needs_blocks = True

    def __init__(
        self,
        margin: float,
        scale: float,
        temperature: float,
        mfcon_weight: float,
        supcon_weight: float,
    ):
        self.margin, self.scale = margin, scale
        self.mfcon_weight, self.supcon_weight = mfcon_weight, supcon_weight
        self.supcon = SupConLoss(temperature)

    def __call__(
        self,
        predictions: tuple[Tensor, Tensor, list[Tensor]],
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Predictions of ours, labels (batch,) → weighted scalars."""
        cosines, embeddings, block_embeddings = predictions
        target = F.one_hot(labels, cosines.shape[1]).bool()
        logits = torch.where(target, cosines - self.margin, cosines)
        log_probs = (self.scale * logits).log_softmax(dim=1)
        mfcon = 0.0
        for embedding in block_embeddings:
            mfcon = mfcon + self.supcon(embedding, labels)
        mfcon = mfcon / len(block_embeddings)
        return {
            "am_softmax": -log_probs[target].mean(),
            "mfcon": self.mfcon_weight * mfcon,
            "supcon": self.supcon_weight * self.supcon(embeddings, labels),
        }


def copy_parameters(ours: nn.Module, plain: nn.Module) -> None:
    """Give the plain module our parameters: same names, other shapes."""
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    plain.load_state_dict(
        {
            name: value.reshape(shapes[name])
            for name, value in ours.state_dict().items()
        }
    )


def make_plain_modules(
    hparams: dict, ours: dict[str, nn.Module]
) -> dict[str, nn.Module]:
    """The modules of `mfcon.yaml` with the plain ones, of equal parameters.

    Arguments
    ---------
    hparams : dict
        Of `mfcon.yaml`, loaded.
    ours : dict[str, nn.Module]
        Its `modules`.

    Returns
    -------
    modules : dict[str, nn.Module]
        By the same names.
    """
    encoder = PlainEncoder(
        *(
            hparams[key]
            for key in (
                "n_mels",
                "d_model",
                "num_blocks",
                "num_heads",
                "d_ffn",
                "kernel_size",
                "dropout",
            )
        )
    )
    sizes = hparams["emb_dim"], hparams["attention_channels"]
    num_blocks, d_model = hparams["num_blocks"], hparams["d_model"]
    modules = {
        "encoder": encoder,
        "embedding_head": PlainHead(num_blocks * d_model, *sizes),
        "block_heads": PlainBlockHeads(num_blocks, d_model, *sizes),
    }
    for name, module in modules.items():
        copy_parameters(ours[name], module)
    return {**ours, **modules}


def make_plain_objective(hparams: dict) -> PlainObjective:
    """The objective of `mfcon.yaml`, plainly."""
    return PlainObjective(
        *(
            hparams[key]
            for key in (
                "margin",
                "scale",
                "temperature",
                "mfcon_weight",
                "supcon_weight",
            )
        )
    )
