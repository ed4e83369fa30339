"""Losses for speaker embeddings, and the objective that adds them up.

A *contrastive loss* maps (embeddings, labels) to a scalar; a *term* maps
(predictions, labels) to one, and says what the contrastive loss looks at.
None has parameters.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_modules.distributed import gather_with_grad

ContrastiveLoss = Callable[[Tensor, Tensor], Tensor]


class Predictions(NamedTuple):
    """What a model says of a batch.

    Arguments
    ---------
    outputs : Tensor
        (batch, speakers), what the classifier returns: cosines or logits.
    embeddings : Tensor
        (batch, emb_dim).
    block_embeddings : list[Tensor]
        (batch, emb_dim) of each block that has a head; may be empty.
    """

    outputs: Tensor
    embeddings: Tensor
    block_embeddings: list[Tensor]


class SupConLoss:
    """Supervised contrastive loss.

    Khosla et al., https://arxiv.org/abs/2004.11362, equation (2). With
    cosines s over the temperature, P(i) the other samples of i's label:
    ``mean_i -1/|P(i)| Σ_{p∈P(i)} log(exp s_ip / Σ_{a≠i} exp s_ia)``.
    Anchors without a positive are left out of the mean; a batch without any
    gives 0.

    Arguments
    ---------
    temperature : float
        Divides the cosines, positive.

    Example
    -------
    >>> loss = SupConLoss(temperature=0.07)
    >>> embeddings = torch.eye(2).repeat(2, 1)  # a, b, a, b
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item() < 1e-5
    True
    """

    def __init__(self, temperature: float = 0.07):
        if not temperature > 0:
            raise ValueError(f"temperature ({temperature}) must be positive")
        self.temperature = temperature

    def __call__(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """embeddings (batch, emb_dim), labels (batch,) → scalar."""
        directions = F.normalize(embeddings, dim=-1)
        logits = directions @ directions.T / self.temperature
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        logits = logits.masked_fill(itself, -math.inf)
        log_probs = logits.log_softmax(dim=-1)  # (batch, batch)
        positives = (labels.unsqueeze(1) == labels) & ~itself
        num_positives = positives.sum(dim=-1)  # (batch,)
        sums = log_probs.where(positives, 0.0).sum(dim=-1)
        losses = -sums / num_positives.clamp(min=1)
        return losses.sum() / (num_positives > 0).sum().clamp(min=1)


class AMSoftmaxLoss:
    """Softmax with an additive margin on the target's cosine.

    Wang et al., https://arxiv.org/abs/1801.05599, equation (6):
    cross-entropy of ``scale · (cosines - margin · one_hot(label))``.

    Arguments
    ---------
    margin : float
        Subtracted from the target's cosine, not negative.
    scale : float
        Multiplies the cosines, positive.

    Example
    -------
    >>> cosines = torch.tensor([[0.5, 0.3]])
    >>> predictions = Predictions(cosines, torch.zeros(1, 2), [])
    >>> AMSoftmaxLoss(margin=0.2)(predictions, torch.tensor([0])).item()
    0.6931471824645996
    """

    needs_cosines = True

    def __init__(self, margin: float = 0.2, scale: float = 30.0):
        if not (margin >= 0 and scale > 0):
            raise ValueError(
                f"margin ({margin}) must not be negative, scale ({scale}) "
                "must be positive"
            )
        self.margin = margin
        self.scale = scale

    def __call__(self, predictions: Predictions, labels: Tensor) -> Tensor:
        """outputs (batch, speakers) as cosines, labels (batch,) → scalar."""
        cosines = predictions.outputs
        margins = self.margin * F.one_hot(labels, cosines.shape[-1])
        return F.cross_entropy(self.scale * (cosines - margins), labels)


class SoftmaxLoss:
    """Cross-entropy of the outputs as logits.

    Example
    -------
    >>> predictions = Predictions(torch.zeros(1, 2), torch.zeros(1, 2), [])
    >>> SoftmaxLoss()(predictions, torch.tensor([0])).item()
    0.6931471824645996
    """

    needs_logits = True

    def __call__(self, predictions: Predictions, labels: Tensor) -> Tensor:
        """outputs (batch, speakers) as logits, labels (batch,) → scalar."""
        return F.cross_entropy(predictions.outputs, labels)


class EmbeddingLoss:
    """A contrastive loss on the final embedding, over the global batch.

    Arguments
    ---------
    contrastive : ContrastiveLoss
        (embeddings, labels) → scalar.

    Example
    -------
    >>> predictions = Predictions(torch.zeros(2, 3), torch.eye(2), [])
    >>> EmbeddingLoss(SupConLoss())(predictions, torch.tensor([0, 1])).item()
    0.0
    """

    def __init__(self, contrastive: ContrastiveLoss):
        self.contrastive = contrastive

    def __call__(self, predictions: Predictions, labels: Tensor) -> Tensor:
        """embeddings (batch, emb_dim), labels (batch,) → scalar."""
        embeddings, labels = gather_with_grad(predictions.embeddings, labels)
        return self.contrastive(embeddings, labels)


class MFConLoss:
    """Multi-scale feature contrastive loss: the blocks' mean.

    Over the global batch, whose embeddings are gathered once for all blocks.

    Dixit et al., https://arxiv.org/abs/2410.05037, section 3: a contrastive
    loss on the embedding of every block.

    Arguments
    ---------
    contrastive : ContrastiveLoss
        (embeddings, labels) → scalar.
    block_weights : list[float] | None
        Weight of each block in the mean; None weighs all the same.

    Example
    -------
    >>> blocks = [torch.eye(2), torch.ones(2, 2)]
    >>> predictions = Predictions(torch.zeros(2, 3), torch.eye(2), blocks)
    >>> MFConLoss(SupConLoss())(predictions, torch.tensor([0, 0])).item()
    0.0
    """

    needs_blocks = True

    def __init__(
        self,
        contrastive: ContrastiveLoss,
        block_weights: list[float] | None = None,
    ):
        if block_weights is not None and (
            min(block_weights) < 0 or sum(block_weights) <= 0
        ):
            raise ValueError(
                f"block_weights ({block_weights}) must not be negative, and "
                "one must be positive"
            )
        self.contrastive = contrastive
        self.block_weights = block_weights

    def __call__(self, predictions: Predictions, labels: Tensor) -> Tensor:
        """block_embeddings, each (batch, emb_dim), labels (batch,) → scalar."""
        blocks = predictions.block_embeddings
        if not blocks:
            raise ValueError(
                "there are no block embeddings: give block_heads some blocks, "
                "or set mfcon_weight to 0"
            )
        weights = self.block_weights or [1.0] * len(blocks)
        if len(weights) != len(blocks):
            raise ValueError(
                f"block_weights has {len(weights)} entries for {len(blocks)} "
                "blocks with a head: they must be as many"
            )
        stacked, labels = gather_with_grad(torch.stack(blocks, dim=1), labels)
        total = sum(
            weight * self.contrastive(embeddings, labels)
            for weight, embeddings in zip(
                weights, stacked.unbind(1), strict=True
            )
        )
        return total / sum(weights)


class Objective:
    """Weighted terms, by name.

    Arguments
    ---------
    terms : dict[str, Callable]
        Each (predictions, labels) → scalar; one whose attribute
        `needs_blocks` is True gets the block embeddings, one whose attribute
        `needs_cosines` or `needs_logits` is True wants such outputs.
    weights : dict[str, float]
        A weight of each term, not negative; 0 leaves the term out and it is
        not computed.

    Example
    -------
    >>> objective = Objective({"softmax": SoftmaxLoss()}, {"softmax": 2.0})
    >>> predictions = Predictions(torch.zeros(1, 2), torch.zeros(1, 2), [])
    >>> objective(predictions, torch.tensor([0]))
    {'softmax': tensor(1.3863)}
    """

    def __init__(
        self,
        terms: dict[str, Callable[[Predictions, Tensor], Tensor]],
        weights: dict[str, float],
    ):
        unknown = sorted(set(weights) ^ set(terms))
        if unknown:
            raise ValueError(
                f"terms ({', '.join(terms)}) and weights "
                f"({', '.join(weights)}) must have the same names; "
                f"{', '.join(unknown)} stands in one only"
            )
        wrong = {k: w for k, w in weights.items() if not 0 <= w < math.inf}
        if wrong or not any(weights.values()):
            raise ValueError(
                f"weights must be finite and not negative, one at least "
                f"positive: {wrong or weights}"
            )
        self.terms = {name: terms[name] for name in terms if weights[name]}
        self.weights = dict(weights)

    @property
    def needs_blocks(self) -> bool:
        """Whether a term that is computed looks at block embeddings."""
        return any(
            getattr(term, "needs_blocks", False) for term in self.terms.values()
        )

    @property
    def needs_cosines(self) -> bool:
        """Whether a term that is computed takes the outputs for cosines."""
        return any(
            getattr(term, "needs_cosines", False)
            for term in self.terms.values()
        )

    @property
    def needs_logits(self) -> bool:
        """Whether a term that is computed takes the outputs for logits."""
        return any(
            getattr(term, "needs_logits", False) for term in self.terms.values()
        )

    def __call__(
        self, predictions: Predictions, labels: Tensor
    ) -> dict[str, Tensor]:
        """Predictions and labels (batch,) → weighted scalar of each term."""
        return {
            name: self.weights[name] * term(predictions, labels)
            for name, term in self.terms.items()
        }
