"""Calibrated scores of trials, and what calibration did to them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from report import P_TARGETS

from custom_modules.calibration import LogisticCalibration
from custom_modules.llr_metrics import actual_dcf, cllr


def measure_llrs(llrs: ArrayLike, is_target: ArrayLike) -> dict[str, float]:
    """Cllr and the actual costs of scores taken for log-likelihood ratios.

    Arguments
    ---------
    llrs : ArrayLike
        (trials,).
    is_target : ArrayLike
        (trials,) bool.

    Returns
    -------
    measures : dict[str, float]
        cllr, and actual_dcf of each p_target of a report.

    Example
    -------
    >>> measure_llrs([9.0, -9.0], [True, False])["actual_dcf_0.01"]
    0.0
    """
    measures = {"cllr": round(cllr(llrs, is_target), 4)}
    for p_target in P_TARGETS:
        cost = actual_dcf(llrs, is_target, p_target)
        measures[f"actual_dcf_{p_target}"] = round(cost, 4)
    return measures


def describe_calibration(
    calibration: LogisticCalibration,
    names: Sequence[str],
    trial_list: dict[str, str],
    dev_is_target: np.ndarray,
    measures: dict[str, dict[str, float]],
) -> dict:
    """What a report says of a calibration or fusion.

    Arguments
    ---------
    calibration : LogisticCalibration
        Fitted.
    names : Sequence[str]
        Of its columns.
    trial_list : dict[str, str]
        Which it was fitted on: trials, its name, and trials_sha256.
    dev_is_target : np.ndarray
        bool (trials,), of that list.
    measures : dict[str, dict[str, float]]
        Of `measure_llrs` on the trials of the report, before and after.

    Returns
    -------
    description : dict
        For JSON; each measure with its values before and after.
    """
    keys = next(iter(measures.values()))
    weights = zip(names, calibration.weights, strict=True)
    return {
        "kind": str(calibration),
        **trial_list,
        "num_trials": len(dev_is_target),
        "num_target_trials": int(np.sum(dev_is_target)),
        "offset": round(calibration.offset, 6),
        "weights": {name: round(float(x), 6) for name, x in weights},
        **{
            key: {when: values[key] for when, values in measures.items()}
            for key in keys
        },
    }


def calibrate(
    calibration: LogisticCalibration,
    names: Sequence[str],
    test: tuple[np.ndarray, np.ndarray],
    dev: tuple[np.ndarray, np.ndarray],
    trial_list: dict[str, str],
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Learn on development trials, apply to both, describe.

    Arguments
    ---------
    calibration : LogisticCalibration
        To be fitted.
    names : Sequence[str]
        Of the columns; the first is the score.
    test, dev : tuple[np.ndarray, np.ndarray]
        Columns (trials, columns) and is_target (trials,).
    trial_list : dict[str, str]
        The development's, as for `describe_calibration`.

    Returns
    -------
    llrs : np.ndarray
        (trials,) of the test.
    dev_llrs : np.ndarray
        (trials,) of the development.
    description : dict
        Of `describe_calibration`.
    """
    (columns, is_target), (dev_columns, dev_is_target) = test, dev
    calibration.fit(dev_columns, dev_is_target)
    llrs = calibration(columns)
    measures = {
        "before": measure_llrs(columns[:, 0], is_target),
        "after": measure_llrs(llrs, is_target),
    }
    description = describe_calibration(
        calibration, names, trial_list, dev_is_target, measures
    )
    return llrs, calibration(dev_columns), description
