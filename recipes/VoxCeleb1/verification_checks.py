"""What is wrong with the settings of a verification, said at once."""

from collections.abc import Iterable

import yaml
from command import TaglessLoader

COHORT = ("cohort_size", "cohort_speaker_means")
PLDA = ("plda_size", "lda_size", "plda_rank", "plda_iterations")
DEVELOPMENT = ("p_target", "quality_measures", "dev_manifest", "dev_trials")
SCORING = ("backend", "centre", "normalisation", "calibration", "top_k")


def typed_keys(overrides: str) -> set[str]:
    """Keys that the command line overrides.

    Example
    -------
    >>> sorted(typed_keys("top_k: 300\\nnormalisation: !ref <s_norm>"))
    ['normalisation', 'top_k']
    """
    return set(yaml.load(overrides or "{}", Loader=TaglessLoader) or {})


def check_settings(hparams: dict, typed: set[str]) -> None:
    """Refuse settings that contradict each other, or do nothing.

    Who types `--top_k=300` believes in a normalisation.

    Arguments
    ---------
    hparams : dict
        Of verify.yaml.
    typed : set[str]
        Its keys that were typed.

    Raises
    ------
    ValueError
        Names the key and what it needs.

    Example
    -------
    >>> from custom_modules.backends import CosineBackend
    >>> hparams = {"num_resamples": 1000, "backend": CosineBackend()}
    >>> hparams |= dict.fromkeys(["normalisation", "calibration", "centre"])
    >>> hparams |= dict.fromkeys(["scores", "extract_to"])
    >>> check_settings(hparams, set())
    >>> check_settings(hparams, {"top_k"})
    Traceback (most recent call last):
    ValueError: --top_k has no effect without a normalisation: add ...
    """
    if hparams["num_resamples"] < 1:
        raise ValueError(
            f"num_resamples ({hparams['num_resamples']}) must be positive"
        )
    is_trained = hparams["backend"].is_trained
    normalises = hparams["normalisation"] is not None
    calibrates = hparams["calibration"] is not None

    def refuse(keys: Iterable[str], what: str) -> None:
        for key in keys:
            if key in typed:
                raise ValueError(f"--{key} has no effect {what}")

    if hparams["scores"] is not None:
        named = (*SCORING, *COHORT, *PLDA, *DEVELOPMENT)
        refuse((*named, "extract_to", "audio_list"), "on given --scores")
        return
    if hparams["extract_to"] is not None:
        named = (*SCORING, *COHORT, *PLDA, *DEVELOPMENT)
        refuse(named, "on embeddings, which --extract_to writes")
        return
    refuse(["audio_list"], "without --extract_to=FILE.npz")
    if is_trained and hparams["centre"]:
        raise ValueError("PLDA centres by itself: leave --centre out")
    if not is_trained:
        refuse(PLDA, "on cosines: add --backend='!ref <plda>'")
    if not normalises:
        what = "without a normalisation: add --normalisation='!ref <s_norm>'"
        refuse(["top_k", "cohort_speaker_means"], what)
    if not (normalises or hparams["centre"]):
        refuse(["cohort_size"], "without normalisation or --centre=True")
    if not calibrates:
        what = "without a calibration: add --calibration='!ref <logistic>'"
        refuse(DEVELOPMENT, what)
