"""Several processes train the model that one would.

Each process (rank) holds its share of every global batch. A loss that looks
at pairs needs the whole batch, and so does batch norm; without a process
group, all here is what one process does.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def is_distributed() -> bool:
    """Whether a process group was made: `torchrun` alone does not.

    Example
    -------
    >>> is_distributed()
    False
    """
    return dist.is_available() and dist.is_initialized()


def process_rank() -> int:
    """Which process this one is, from 0.

    Example
    -------
    >>> process_rank()
    0
    """
    return dist.get_rank() if is_distributed() else 0


def num_processes() -> int:
    """How many processes train together.

    Example
    -------
    >>> num_processes()
    1
    """
    return dist.get_world_size() if is_distributed() else 1


class _Gather(torch.autograd.Function):
    """Concatenation over ranks; backward adds what each rank's loss asks."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(num_processes())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(num_processes())[process_rank()]


class _Sum(torch.autograd.Function):
    """Sum over ranks, which backward is, too."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient


def gather_with_grad(
    embeddings: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of the global batch, on every rank.

    Where every rank computes the same loss of what it gets, its gradient is
    added up over ranks on the way back, and DistributedDataParallel's mean
    over ranks makes it the gradient of one process.

    Arguments
    ---------
    embeddings : Tensor
        (batch, ...), as many on every rank.
    labels : Tensor
        (batch,).

    Returns
    -------
    embeddings : Tensor
        (ranks · batch, ...), by rank.
    labels : Tensor
        (ranks · batch,).

    Example
    -------
    >>> gather_with_grad(torch.ones(1, 2), torch.tensor([3]))
    (tensor([[1., 1.]]), tensor([3]))
    """
    if not is_distributed():
        return embeddings, labels
    with torch.no_grad():
        all_labels = _Gather.apply(labels.contiguous())
    return _Gather.apply(embeddings.contiguous()), all_labels


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of a tensor over ranks, without gradient; NaN where one has it.

    Example
    -------
    >>> mean_over_ranks(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    values = values.detach().clone()
    if is_distributed():
        dist.all_reduce(values)
        values /= num_processes()
    return values


class SynchronizedBatchNorm(nn.Module):
    """Batch norm over the global batch, on any backend and dtype.

    torch's SyncBatchNorm refuses tensors on the CPU. This one has the
    parameters and buffers of `nn.BatchNorm1d`, and is one where there is no
    process group or outside of training. Ioffe and Szegedy,
    https://arxiv.org/abs/1502.03167.

    Arguments
    ---------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float
        Weight of a batch in the running mean and variance.

    Example
    -------
    >>> norm = SynchronizedBatchNorm(2)
    >>> norm(torch.tensor([[1.0, 0.0], [3.0, 0.0]])).round().tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1
    ):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels) or (batch, channels, time) → the shape of x."""
        if self.training:
            self.num_batches_tracked += 1
            if is_distributed():
                return self._normalise_over_ranks(x)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )

    def _normalise_over_ranks(self, x: Tensor) -> Tensor:
        dtype, x = x.dtype, x.to(self.weight.dtype)
        dims = [dim for dim in range(x.dim()) if dim != 1]
        variance, mean = torch.var_mean(x, dims, correction=0)
        # Sums of squares cancel in float32; those of a few channels in
        # float64 cost nothing.
        variance, mean = variance.double(), mean.double()
        count = torch.full_like(mean, x.numel() // x.shape[1])
        sums = torch.stack(
            [mean, variance + mean.square(), torch.ones_like(mean)]
        )
        total, squares, count = _Sum.apply(sums * count)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0.0)
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            for running, value in (
                (self.running_mean, mean),
                (self.running_var, unbiased),
            ):
                running.lerp_(value.to(running.dtype), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt().to(x.dtype)
        mean, scale, bias = (
            values.to(x.dtype).view(-1, *[1] * (x.dim() - 2))
            for values in (mean, scale, self.bias)
        )
        return torch.addcmul(bias, x - mean, scale).to(dtype)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


def synchronize_batch_norms(module: nn.Module) -> nn.Module:
    """Replace each batch norm within a module by a synchronised one.

    Arguments
    ---------
    module : nn.Module
        Changed in place; its state dict has the same names and values.

    Returns
    -------
    module : nn.Module
        The same, or a synchronised batch norm for one.

    Example
    -------
    >>> synchronize_batch_norms(nn.Sequential(nn.BatchNorm1d(3)))
    Sequential(
      (0): SynchronizedBatchNorm(3, eps=1e-05, momentum=0.1)
    )
    """
    if isinstance(module, _BatchNorm):
        norm = SynchronizedBatchNorm(
            module.num_features, module.eps, module.momentum
        )
        norm.load_state_dict(module.state_dict())
        return norm
    for name, child in module.named_children():
        setattr(module, name, synchronize_batch_norms(child))
    return module
