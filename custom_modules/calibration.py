"""Scores to log-likelihood ratios, by logistic regression.

One score gives calibration, several systems' give their fusion, and measures
of the recordings' quality beside them let the threshold follow the quality:
Brümmer et al., "Fusion of heterogeneous speaker recognition systems",
https://doi.org/10.1109/TASL.2007.902870, and Mandasari et al., "Quality
measure functions for calibration of speaker recognition systems",
https://doi.org/10.1109/TASL.2013.2279332.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTY = 0.01


class LogisticCalibration:
    """``llr = offset + sum of weight times column``, learnt on trials.

    scikit-learn's logistic regression of "is target", with targets weighing
    `p_target` in all and the others the rest, on columns of deviation 1; its
    L2 penalty of 0.01 against the sum over trials gives trials that a
    threshold separates finite weights, and hardly moves those of others.

    Arguments
    ---------
    p_target : float
        Prior around which it is to be good, in (0, 1).

    Raises
    ------
    ValueError
        For a prior out of its range.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> is_target = rng.random(40_000) < 0.5
    >>> scores = rng.normal(np.where(is_target, 1.0, 0.0), 1.0)
    >>> calibration = LogisticCalibration(p_target=0.5)
    >>> calibration.fit(scores[:, None], is_target)
    >>> calibration.weights.round(1), round(calibration.offset, 1)
    (array([1.]), -0.5)
    >>> calibration(np.array([[0.5]])).round(1) + 0.0
    array([0.])
    """

    def __init__(self, p_target: float = 0.01):
        if not 0 < p_target < 1:
            raise ValueError(
                f"p_target ({p_target}) must lie between 0 and 1, both excluded"
            )
        self.p_target = p_target
        self.offset = 0.0
        self.weights = np.empty(0)

    def __str__(self) -> str:
        return f"logistic regression at p_target {self.p_target:g}"

    def fit(
        self,
        columns: ArrayLike,
        is_target: ArrayLike,
        names: Sequence[str] = ("score",),
    ) -> None:
        """Learn offset and weights.

        Arguments
        ---------
        columns : ArrayLike
            Finite (trials, columns): scores, and measures of quality.
        is_target : ArrayLike
            (trials,) bool.
        names : Sequence[str]
            Of the columns that are scores, the first ones, for errors.

        Raises
        ------
        ValueError
            Where one class or a number is missing, or a score weighs less the
            more it says "same speaker".
        """
        columns = np.asarray(columns, dtype=np.float64)
        is_target = np.asarray(is_target).astype(bool)
        if columns.ndim != 2 or len(columns) != len(is_target):
            raise ValueError(
                f"columns {columns.shape} must be (trials, columns), with "
                f"{len(is_target)} trials"
            )
        num_targets = int(is_target.sum())
        if not 0 < num_targets < len(is_target):
            raise ValueError(
                f"{num_targets} of {len(is_target)} trials are targets: "
                "calibration needs both kinds"
            )
        if not np.isfinite(columns).all():
            raise ValueError("scores and measures of quality must be finite")
        shares = np.where(
            is_target,
            self.p_target / num_targets,
            (1 - self.p_target) / (len(is_target) - num_targets),
        )
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=1000),
        )
        model.fit(
            columns,
            is_target,
            logisticregression__sample_weight=shares * len(is_target),
        )
        scaler, regression = (step for _, step in model.steps)
        self.weights = regression.coef_[0] / scaler.scale_
        prior = np.log(self.p_target) - np.log(1 - self.p_target)
        self.offset = float(
            regression.intercept_[0] - self.weights @ scaler.mean_ - prior
        )
        if len(names) == 1 and self.weights[0] <= 0:
            raise ValueError(
                f"the higher the {names[0]} of these trials the less are they "
                "targets: look at their labels"
            )

    def __call__(self, columns: ArrayLike) -> np.ndarray:
        """Log-likelihood ratios (trials,) of columns (trials, columns)."""
        return self.offset + np.asarray(columns, np.float64) @ self.weights
