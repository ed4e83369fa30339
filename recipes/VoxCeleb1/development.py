"""What the development trials say of a model, at each epoch and in the end."""

from functools import partial

import numpy as np
import torch
from speechbrain.utils.checkpoints import (
    Checkpoint,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from custom_modules.metrics import equal_error_rate, min_dcf, speaker_bootstrap
from custom_modules.scoring import Trials, speaker_id

SCORES = "dev_scores"  # the recoverable's name
P_TARGET = 0.01
COST = partial(min_dcf, p_target=P_TARGET)


@register_checkpoint_hooks
class DevelopmentScores:
    """Scores of the development trials at the last validation.

    A recoverable: so the interval of the epoch that is exported is computed
    once, at the end, and from the scores that chose it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "dev_scores.ckpt"
    >>> scores = DevelopmentScores()
    >>> scores.values = np.array([0.5, -0.25])
    >>> scores.save(path)
    >>> read_scores_of(path)
    array([ 0.5 , -0.25])
    """

    def __init__(self):
        self.values = np.array([])  # before the first validation

    @mark_as_saver
    def save(self, path: str) -> None:
        """Write them."""
        torch.save(torch.from_numpy(self.values), path)

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool) -> None:
        """Restore them."""
        del end_of_epoch  # the same within an epoch and at its end
        self.values = read_scores_of(path)


def read_scores_of(path: str) -> np.ndarray:
    """Read what `DevelopmentScores` wrote: float64 (trials,)."""
    return torch.load(path, weights_only=True).numpy()


def measure_development(
    scores: np.ndarray, is_target: np.ndarray
) -> dict[str, float | None]:
    """Error rates and thresholds, for the log and a checkpoint's meta.

    Arguments
    ---------
    scores : np.ndarray
        (trials,).
    is_target : np.ndarray
        (trials,) bool.

    Returns
    -------
    measured : dict[str, float | None]
        eer (a fraction), min_dcf (normalised, at p_target of 0.01) and the
        thresholds of both, threshold and threshold_p01; the last is None
        where rejecting every trial costs least.

    Example
    -------
    >>> measure_development(np.array([0.1, 0.6, 0.4, 0.9]), [0, 0, 1, 1])
    {'eer': 0.5, 'min_dcf': 0.5, 'threshold': 0.6, 'threshold_p01': 0.9}
    """
    eer, threshold = equal_error_rate(scores, is_target)
    cost, threshold_p01 = COST(scores, is_target)
    return {
        "eer": float(eer),
        "min_dcf": float(cost),
        "threshold": float(threshold),
        # JSON and YAML of other readers have no infinity.
        "threshold_p01": float(threshold_p01)
        if np.isfinite(threshold_p01)
        else None,
    }


def scores_of(checkpoint: Checkpoint) -> np.ndarray | None:
    """Scores (trials,) of a checkpoint; None where it was saved without."""
    path = checkpoint.paramfiles.get(SCORES)
    return None if path is None else read_scores_of(path)


def describe_development(
    measured: dict,
    scores: np.ndarray | None,
    trials: Trials | None,
    seed: int,
) -> dict:
    """Say what the development trials say of a model, for training.json.

    Arguments
    ---------
    measured : dict
        Of `measure_development`, or a checkpoint's meta with what it has of
        these.
    scores : np.ndarray | None
        (trials,); None where they are not known.
    trials : Trials | None
        The development trials; None without any.
    seed : int
        Of the bootstrap.

    Returns
    -------
    described : dict
        dev_eer (a fraction), dev_min_dcf, threshold and threshold_p01 as
        `measure_development` gives them; dev_eer_interval and
        dev_min_dcf_interval, [low, high], of 95 % over the speakers;
        num_dev_trials and num_dev_speakers. None is what is not known: all
        without trials, the intervals without scores.
    """
    described = {
        "dev_eer": measured.get("eer"),
        "dev_eer_interval": None,
        "dev_min_dcf": measured.get("min_dcf"),
        "dev_min_dcf_interval": None,
        "threshold": measured.get("threshold"),
        "threshold_p01": measured.get("threshold_p01"),
        "num_dev_trials": None,
        "num_dev_speakers": None,
    }
    if trials is None:
        return described
    enrol = [speaker_id(name) for name in trials.enrol]
    test = [speaker_id(name) for name in trials.test]
    described["num_dev_trials"] = len(enrol)
    described["num_dev_speakers"] = len({*enrol, *test})
    if scores is not None:
        for name, metric in (("eer", equal_error_rate), ("min_dcf", COST)):
            interval = speaker_bootstrap(
                *(scores, trials.is_target, enrol, test, metric), seed=seed
            )
            described[f"dev_{name}_interval"] = [float(x) for x in interval]
    return described
