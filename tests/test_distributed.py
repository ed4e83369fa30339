"""Several ranks compute what one process does on the whole batch."""

from functools import partial

import pytest
import torch
from pytorch_metric_learning import losses as pml
from ranks import run_on_ranks
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from custom_modules.conformer import MFAConformer
from custom_modules.distributed import (
    SynchronizedBatchNorm,
    is_distributed,
    mean_over_ranks,
    num_processes,
    process_rank,
    synchronize_batch_norms,
)
from custom_modules.heads import BlockHeads, DenseHead, EmbeddingHead
from custom_modules.losses import (
    AMSoftmaxLoss,
    EmbeddingLoss,
    MFConLoss,
    Objective,
    Predictions,
    SupConLoss,
)
from custom_modules.pooling import AttentiveStatisticsPooling

FLOAT64 = 1e-6
BATCH = 12  # of 2 and of 3 ranks
CONTRASTIVE = {
    "supcon": SupConLoss(),
    "triplet": pml.TripletMarginLoss(),
    "ntxent": pml.NTXentLoss(),
}
HEADS = {
    "embedding": EmbeddingHead,
    "dense": partial(DenseHead, num_layers=2),
}
SEVERAL = [2, pytest.param(3, marks=pytest.mark.long)]


def own(batch):
    """This rank's share of a global batch."""
    return batch.chunk(num_processes())[process_rank()]


def train_step(contrastive, head):
    """Losses, gradients and running statistics of a step on the batch."""
    torch.manual_seed(0)
    pooling = partial(AttentiveStatisticsPooling, attention_channels=4)
    head = partial(HEADS[head], emb_dim=6, pooling=pooling)
    modules = {
        "encoder": MFAConformer(20, 8, 2, 2, 16, 3, dropout=0.0),
        "embedding_head": head(16),
        "block_heads": BlockHeads([8, 8], head),
        "classifier": Classifier(6, lin_blocks=0, out_neurons=4),
    }
    modules = nn.ModuleDict(modules).double()
    called = modules
    if is_distributed():  # as SpeechBrain wraps them
        called = {k: DistributedDataParallel(m) for k, m in modules.items()}
    feats = torch.randn(BATCH, 40, 20, dtype=torch.float64)
    labels = torch.arange(BATCH) % 4
    block_outputs, _ = called["encoder"](own(feats))
    embeddings = called["embedding_head"](torch.cat(block_outputs, dim=-1))
    predictions = Predictions(
        called["classifier"](embeddings.unsqueeze(1)).squeeze(1),
        embeddings,
        called["block_heads"](block_outputs),
    )
    loss = CONTRASTIVE[contrastive]
    objective = Objective(
        {
            "am_softmax": AMSoftmaxLoss(),
            "mfcon": MFConLoss(loss, block_weights=[1.0, 2.0]),
            "supcon": EmbeddingLoss(loss),
        },
        {"am_softmax": 1.0, "mfcon": 0.5, "supcon": 0.5},
    )
    terms = objective(predictions, own(labels))
    sum(terms.values()).backward()
    values = {f"loss {k}": mean_over_ranks(v) for k, v in terms.items()}
    values |= {f"grad {k}": p.grad for k, p in modules.named_parameters()}
    return values | dict(modules.named_buffers())


@pytest.mark.parametrize("num_ranks", SEVERAL)
@pytest.mark.parametrize(
    ("contrastive", "head"),
    [
        ("supcon", "embedding"),
        ("triplet", "embedding"),
        pytest.param("ntxent", "embedding", marks=pytest.mark.long),
        pytest.param("supcon", "dense", marks=pytest.mark.long),
    ],
)
def test_losses_and_gradients_are_those_of_one_process(
    num_ranks, contrastive, head, tmp_path
):
    expected = train_step(contrastive, head)
    assert any(
        value.abs().max() > FLOAT64
        for name, value in expected.items()
        if name.startswith("grad block_heads")
    )
    for values in run_on_ranks(
        train_step, num_ranks, tmp_path / "ranks", contrastive, head
    ):
        assert values.keys() == expected.keys()
        for name, value in values.items():
            torch.testing.assert_close(
                value, expected[name], rtol=0.0, atol=FLOAT64, msg=name
            )


def normalise(x, make_norm):
    """Output, gradients and statistics of two steps of a batch norm."""
    norm = make_norm(x.shape[1]).to(x.dtype)
    own_x = own(x).clone().requires_grad_()
    for _ in range(2):
        y = norm(own_x)
    y.square().mul(
        torch.arange(1.0, x.shape[1] + 1).view(-1, 1)
    ).sum().backward()
    grads = [p.grad for p in norm.parameters()]
    sums = [mean_over_ranks(g) * num_processes() for g in grads]
    return [y.detach(), own_x.grad, *sums, *norm.buffers()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_synchronised_batch_norm_is_that_of_the_whole_batch(dtype, tmp_path):
    """Also where the mean is far from 0, and in three dimensions."""
    torch.manual_seed(0)
    x = (torch.randn(BATCH, 3, 5) + 10 * torch.arange(3).view(3, 1)).to(dtype)
    expected = normalise(x.double(), nn.BatchNorm1d)
    parts = run_on_ranks(normalise, 2, tmp_path / "r", x, SynchronizedBatchNorm)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    for index, wanted in enumerate(expected):
        shares = [values[index] for values in parts]
        value = torch.cat(shares) if index < 2 else shares[0]
        torch.testing.assert_close(
            value.to(wanted.dtype), wanted, rtol=1e-5, atol=tolerance
        )


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4)])
def test_alone_it_is_torchs(shape):
    x = torch.randn(shape)
    norm = nn.BatchNorm1d(3)
    synchronised = synchronize_batch_norms(nn.BatchNorm1d(3))
    assert synchronised.state_dict().keys() == norm.state_dict().keys()
    for _ in range(2):
        assert torch.equal(synchronised(x), norm(x))
    for name, value in norm.state_dict().items():
        assert torch.equal(synchronised.state_dict()[name], value)
    assert torch.equal(synchronised.eval()(x), norm.eval()(x))


def test_batch_norms_within_a_module_are_replaced_with_their_state():
    module = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3)))
    module(torch.randn(4, 2))
    state = {k: v.clone() for k, v in module.state_dict().items()}
    synchronize_batch_norms(module)
    assert isinstance(module[1][0], SynchronizedBatchNorm)
    assert all(torch.equal(state[k], v) for k, v in module.state_dict().items())


def test_no_batch_norm_of_the_heads_is_torchs():
    """SpeechBrain would make torch's of it, which refuses the CPU."""
    head = EmbeddingHead(8, 4, AttentiveStatisticsPooling)
    norms = [m for m in head.modules() if isinstance(m, SynchronizedBatchNorm)]
    assert len(norms) > 1
    assert not any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in head.modules()
    )
