"""Modules whose parameters hide nothing."""

import torch
from torch import nn


@torch.no_grad()
def randomise(module: nn.Module, scale: float = 0.2) -> nn.Module:
    """Move parameters and running statistics from their 0 and 1."""
    for parameter in module.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand_like(buffer))
    return module.eval()
