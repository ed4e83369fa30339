"""Learning rates by hand, and the count that survives a checkpoint."""

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from custom_modules.schedules import CosineSchedule, HalvingSchedule


def test_the_published_schedule_by_hand():
    """1e-3 after 2,000 steps of warm-up, halved every 5 epochs."""
    schedule = HalvingSchedule(1e-3, warmup_steps=2000, halving_epochs=5)
    rates = [schedule.rate(n, 1400) for n in (0, 999, 1999, 6999, 7000, 14000)]
    expected = [5e-7, 5e-4, 1e-3, 1e-3, 5e-4, 2.5e-4]
    assert rates == pytest.approx(expected)


def test_the_cosine_ends_at_its_fraction_and_stays():
    schedule = CosineSchedule(2.0, 0, num_epochs=3, final_fraction=0.1)
    assert schedule.rate(0, 10) == pytest.approx(2.0)
    assert schedule.rate(15, 10) == pytest.approx(1.1)
    assert schedule.rate(30, 10) == schedule.rate(99, 10) == pytest.approx(0.2)


def test_a_step_sets_every_group_and_counts():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.Adam([{"params": [a]}, {"params": [b]}], lr=1.0)
    schedule = HalvingSchedule(1e-2, warmup_steps=4, halving_epochs=1)
    assert schedule.step(optimizer, 100) == pytest.approx(2.5e-3)
    assert schedule.step(optimizer, 100) == pytest.approx(5e-3)
    assert [g["lr"] for g in optimizer.param_groups] == [5e-3, 5e-3]


def test_speechbrains_checkpointer_restores_the_count(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    first = CosineSchedule(1.0, 10, num_epochs=2)
    for _ in range(3):
        first.step(optimizer, 5)
    Checkpointer(tmp_path, {"schedule": first}).save_checkpoint()
    second = CosineSchedule(1.0, 10, num_epochs=2)
    Checkpointer(tmp_path, {"schedule": second}).recover_if_possible()
    assert second.step(optimizer, 5) == first.step(optimizer, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HalvingSchedule(0.0, 1, 1), r"lr \(0.0\) must be positive"),
        (lambda: HalvingSchedule(1.0, -1, 1), r"warmup_steps \(-1\)"),
        (lambda: HalvingSchedule(1.0, 1, 0), r"halving_epochs \(0\)"),
        (lambda: CosineSchedule(1.0, 1, 0), r"num_epochs \(0\)"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
