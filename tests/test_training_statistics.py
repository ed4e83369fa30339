"""Statistics of an epoch survive an interruption."""

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
from training_statistics import TrainingStatistics


def add(statistics, *losses):
    for loss in losses:
        statistics.start_step()
        statistics.end_step({"loss": torch.tensor(loss)}, 10)


def test_a_resumed_epoch_has_the_mean_of_the_whole(tmp_path):
    whole, first, second = (TrainingStatistics() for _ in range(3))
    add(whole, 1.0, 2.0, 6.0)
    add(first, 1.0, 2.0)
    minutes = first.minutes
    Checkpointer(tmp_path, {"statistics": first}).save_checkpoint()
    Checkpointer(tmp_path, {"statistics": second}).recover_if_possible()
    add(second, 6.0)
    assert second.summary()["loss"] == whole.summary()["loss"] == 3.0
    assert second.num_utterances == 30
    assert second.minutes > minutes


def test_time_is_either_waiting_or_work(monkeypatch):
    clock = iter([0.0, 0.0, 0.0, 3.0, 4.0, 4.5, 8.0, 60.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    statistics = TrainingStatistics()
    statistics.start_epoch()
    add(statistics, 1.0, 1.0)
    summary = statistics.summary()
    assert summary["share_waiting_for_data"] == pytest.approx(3.5 / 8)
    assert summary["utterances_per_second"] == pytest.approx(20 / 8)
    assert statistics.minutes == 1.0


def test_a_failed_step_counts_its_time_alone():
    statistics = TrainingStatistics()
    add(statistics, 4.0)
    statistics.start_step()
    statistics.end_step({}, 10)
    assert statistics.summary()["loss"] == 4.0
