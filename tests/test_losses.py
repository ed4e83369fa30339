"""Losses against the published code's numbers and slow, obvious versions."""

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses as pml

from custom_modules.losses import (
    AMSoftmaxLoss,
    EmbeddingLoss,
    MFConLoss,
    Objective,
    Predictions,
    SoftmaxLoss,
    SupConLoss,
)

GOLDEN = 1e-6  # float64


def tensors(arrays):
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


def cosines(embeddings, class_weights):
    return F.normalize(embeddings, dim=1) @ F.normalize(class_weights, dim=0)


def only_embeddings(embeddings):
    return Predictions(torch.zeros(len(embeddings), 2), embeddings, [])


def slow_supcon(embeddings, labels, temperature):
    """Equation (2) of arXiv 2004.11362 by loops."""
    unit = [e / e.norm() for e in embeddings]
    per_anchor = []
    for i, label in enumerate(labels):
        others = [a for a in range(len(labels)) if a != i]
        positives = [p for p in others if labels[p] == label]
        if not positives:
            continue
        total = sum(math.exp(unit[i] @ unit[a] / temperature) for a in others)
        terms = [
            math.log(math.exp(unit[i] @ unit[p] / temperature) / total)
            for p in positives
        ]
        per_anchor.append(-sum(terms) / len(terms))
    return sum(per_anchor) / len(per_anchor) if per_anchor else 0.0


@pytest.mark.parametrize("name", ["supcon", "ntxent", "triplet", "npairs"])
@pytest.mark.parametrize("kind", ["paired", "uneven"])
def test_contrastive_losses_agree_with_golden_numbers(golden, name, kind):
    """Ours for SupCon; pytorch-metric-learning's run as they are."""
    data = tensors(golden("contrastive"))
    temperature = data["temperature"].item()
    loss = {
        "supcon": SupConLoss(temperature),
        "ntxent": pml.NTXentLoss(temperature),
        "triplet": pml.TripletMarginLoss(),
        "npairs": pml.NPairsLoss(),
    }[name]
    embeddings = data["embeddings"].requires_grad_()
    value = EmbeddingLoss(loss)(
        only_embeddings(embeddings), data[f"labels_{kind}"]
    )
    value.backward()
    expected = data[f"{name}_{kind}"]
    assert abs(value.item() - expected.item()) < GOLDEN
    gradient = data[f"{name}_{kind}_grad"]
    torch.testing.assert_close(embeddings.grad, gradient, atol=GOLDEN, rtol=0.0)


def test_am_softmax_agrees_with_the_published_code(golden):
    data = tensors(golden("am_softmax"))
    embeddings = data["embeddings"].requires_grad_()
    outputs = cosines(embeddings, data["class_weights"])
    loss = AMSoftmaxLoss(data["margin"].item(), data["scale"].item())
    value = loss(Predictions(outputs, embeddings, []), data["labels"])
    value.backward()
    assert abs(value.item() - data["loss"].item()) < GOLDEN
    torch.testing.assert_close(
        embeddings.grad, data["grad_embeddings"], atol=GOLDEN, rtol=0.0
    )


def test_the_whole_objective_agrees_with_the_published_code(golden):
    data = tensors(golden("mfcon"))
    outputs = cosines(data["embeddings"], data["class_weights"])
    blocks = list(data["block_embeddings"])
    predictions = Predictions(outputs, data["embeddings"], blocks)
    supcon = SupConLoss(0.07)
    for block, expected in zip(blocks, data["per_block_supcon"], strict=True):
        value = supcon(block, data["labels"])
        assert abs(value.item() - expected.item()) < GOLDEN
    weights = {
        "am": 1.0,
        "mfcon": data["lambda1"].item(),
        "supcon": data["lambda2"].item(),
    }
    terms = {
        "am": AMSoftmaxLoss(),
        "mfcon": MFConLoss(supcon),
        "supcon": EmbeddingLoss(supcon),
    }
    values = Objective(terms, weights)(predictions, data["labels"])
    assert abs(values["am"] - data["am_softmax"]) < GOLDEN
    assert abs(values["mfcon"] / weights["mfcon"] - data["mfcon"]) < GOLDEN
    assert abs(sum(values.values()) - data["total"]) < GOLDEN


@pytest.mark.parametrize("seed", range(5))
def test_supcon_is_its_formula(seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(
        9, 4, generator=generator, dtype=torch.float64, requires_grad=True
    )
    labels = torch.randint(0, 4, (9,), generator=generator)
    fast = SupConLoss(0.3)(embeddings, labels).item()
    slow = slow_supcon(embeddings.detach(), labels.tolist(), 0.3)
    assert fast == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 4])
def test_supcon_without_positives_is_zero_with_a_zero_gradient(batch):
    embeddings = torch.randn(batch, 3, requires_grad=True)
    value = SupConLoss()(embeddings, torch.arange(batch))
    value.backward()
    assert value.item() == 0.0
    assert (embeddings.grad == 0).all()


def test_supcon_does_not_depend_on_the_length_of_embeddings():
    embeddings = torch.randn(6, 3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    scaled = embeddings * torch.rand(6, 1, dtype=torch.float64).add(0.5)
    a, b = SupConLoss()(embeddings, labels), SupConLoss()(scaled, labels)
    assert a.item() == pytest.approx(b.item(), abs=1e-12)


def test_am_softmax_without_margin_is_scaled_softmax():
    outputs, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    plain = SoftmaxLoss()(Predictions(30 * outputs, None, []), labels)
    value = AMSoftmaxLoss(0.0, 30.0)(Predictions(outputs, None, []), labels)
    torch.testing.assert_close(value, plain)


def test_block_weights_make_a_weighted_mean():
    def size(embeddings, labels):
        return embeddings.abs().mean()

    blocks = [torch.full((2, 2), value) for value in (1.0, 3.0)]
    predictions = Predictions(torch.zeros(2, 2), torch.zeros(2, 2), blocks)
    labels = torch.tensor([0, 1])
    assert MFConLoss(size)(predictions, labels).item() == 2.0
    assert MFConLoss(size, [3.0, 1.0])(predictions, labels).item() == 1.5


def test_a_term_of_weight_zero_is_not_computed():
    def explode(predictions, labels):
        raise AssertionError("computed")

    objective = Objective(
        {"softmax": SoftmaxLoss(), "other": explode},
        {"softmax": 1.0, "other": 0.0},
    )
    predictions = Predictions(torch.zeros(1, 2), torch.zeros(1, 2), [])
    assert list(objective(predictions, torch.tensor([0]))) == ["softmax"]
    assert not objective.needs_blocks


def test_the_objective_says_whether_block_heads_are_needed():
    terms = {"a": SoftmaxLoss(), "b": MFConLoss(SupConLoss())}
    assert Objective(terms, {"a": 1.0, "b": 0.1}).needs_blocks
    assert not Objective(terms, {"a": 1.0, "b": 0.0}).needs_blocks


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SupConLoss(0.0), r"temperature \(0.0\) must be positive"),
        (lambda: AMSoftmaxLoss(-0.1), r"margin \(-0.1\) must not be negative"),
        (lambda: MFConLoss(SupConLoss(), [0.0]), "one must be positive"),
        (
            lambda: Objective({"softmax": SoftmaxLoss()}, {"sofmax": 1.0}),
            "must have the same names; sofmax, softmax stands in one only",
        ),
        (
            lambda: Objective({"a": SoftmaxLoss()}, {"a": math.nan}),
            "must be finite",
        ),
        (lambda: Objective({"a": SoftmaxLoss()}, {"a": 0}), "one at least"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("blocks", "weights", "message"),
    [([], None, "no block embeddings"), ([1], [1.0, 2.0], "2 entries for 1")],
)
def test_mfcon_says_what_it_lacks(blocks, weights, message):
    blocks = [torch.zeros(2, 2) for _ in blocks]
    predictions = Predictions(torch.zeros(2, 2), torch.zeros(2, 2), blocks)
    with pytest.raises(ValueError, match=message):
        MFConLoss(SupConLoss(), weights)(predictions, torch.tensor([0, 1]))
