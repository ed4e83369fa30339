"""Modules whose parameters hide nothing."""

import torch
from torch import nn

from custom_modules.distributed import process_rank


@torch.no_grad()
def randomise(module: nn.Module, scale: float = 0.2) -> nn.Module:
    """Move parameters and running statistics from their 0 and 1."""
    for parameter in module.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand_like(buffer))
    return module.eval()


class NaNOnRank1(nn.Module):
    """A contrastive loss that fails in one process."""

    def forward(self, embeddings, labels):
        """Zero, or NaN, with a gradient."""
        factor = float("nan") if process_rank() == 1 else 0.0
        return embeddings.sum() * factor
