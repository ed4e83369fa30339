"""What a model folder says of itself, as its README.md."""

import re

from torch import nn

USE = """\
`custom_modules`, of the repository that trained it, must be installed beside
SpeechBrain. Give the folder's own path for FOLDER:

```python
from speechbrain.inference.speaker import SpeakerRecognition

model = SpeakerRecognition.from_hparams(source="FOLDER")
score, _ = model.verify_files("a.wav", "b.wav")
```

The score is a cosine, higher for voices more alike. The decision that
`verify_files` returns beside it is by a fixed 0.25: ignore it.

`EncoderClassifier` of `speechbrain.inference.classifiers` loads the folder too:
`encode_batch(wavs)`, of either, gives embeddings (batch, 1, emb_dim). The
speakers of the training have no classifier here, so there is no
`classify_batch`, and no statistics for `normalize=True`."""
DECISION = "`score > model.hparams.threshold`: the speaker is the same."
DECISION_P01 = """\
Where few trials are of one speaker (1 in 100, false acceptances as bad as
false rejections), `model.hparams.threshold_p01` is the better threshold."""
NO_DECISION = "The folder has no threshold: choose one on trials of your own."
NO_THRESHOLD_P01 = "There is no threshold for p = 0.01: {reason}."
REJECT_ALL = "rejecting every trial cost least"
OLD_CHECKPOINT = "this checkpoint is older than such thresholds"
UNTESTED = "On other trials: nothing so far."
DANGER = """\
**`from_hparams` runs whatever code the `hyperparams.yaml` of a folder names**
(`!new:`, `!apply:`). Load folders of people you trust only, and read that file
of any other first. `embedding_model.safetensors` has the same parameters as
`embedding_model.ckpt`, in a format that holds no code."""


def _tell_epochs(training: dict) -> str:
    """Which epoch a model is of, or of which it is the mean.

    Example
    -------
    >>> _tell_epochs({"epoch": 6, "averaged_epochs": [4, 5, 6]})
    'mean of 4, 5, 6'
    """
    if "averaged_epochs" not in training:
        return str(training["epoch"])
    return f"mean of {', '.join(map(str, training['averaged_epochs']))}"


def _told_start(origin: dict | None) -> list[tuple[str, str]]:
    """A row for the training whose parameters this one started from.

    Example
    -------
    >>> _told_start({"data": "VoxCeleb1", "epoch": 30})
    [('started from', 'a model of VoxCeleb1, epoch 30')]
    """
    if origin is None:
        return []
    return [
        (
            "started from",
            f"a model of {origin['data']}, epoch {origin['epoch']}",
        )
    ]


def describe_model(
    embedding_model: nn.Module,
    sample_rate: int,
    training: dict,
) -> str:
    """Write a model card: what is known of the model and what is not.

    Arguments
    ---------
    embedding_model : nn.Module
        `SpeakerEmbedder`, with `encoder` and `embedding_head`.
    sample_rate : int
        Hz.
    training : dict
        data (name of the corpus), speakers, hours, noise and rooms (names of
        folders; None for none), seed, epoch, commit, and what
        `describe_development` gives. What is None is not known.

    Returns
    -------
    card : str
        Markdown with the front matter of model hubs; no path of a machine.

    Example
    -------
    >>> from custom_modules.baseline import FeatureEncoder
    >>> from custom_modules.heads import SpeakerEmbedder
    >>> from custom_modules.pooling import StatisticsPooling
    >>> embedder = SpeakerEmbedder(FeatureEncoder(80), StatisticsPooling(80))
    >>> training = {"data": "VoxCeleb1", "speakers": ["id10001"], "seed": 1}
    >>> training |= {"hours": 2.5, "noise": "musan", "rooms": None}
    >>> training |= {"epoch": 3, "commit": None, "dev_eer": None}
    >>> training |= {"threshold": None}
    >>> card = describe_model(embedder, 16000, training)
    >>> print(card[card.index("## Training") : card.index("## Limits")].strip())
    ## Training
    <BLANKLINE>
    | | |
    |---|---|
    | data | VoxCeleb1 |
    | speakers | 1 |
    | hours | 2.5 |
    | noise | musan |
    | rooms | none |
    | seed | 1 |
    | epoch | 3 |
    | commit | not known |
    <BLANKLINE>
    ## Measured
    <BLANKLINE>
    There were no development trials. This is the last epoch.
    <BLANKLINE>
    <!-- tests -->
    On other trials: nothing so far.
    <!-- end of tests -->
    <BLANKLINE>
    <!-- int8 -->
    <!-- end of int8 -->
    """
    encoder = type(embedding_model.encoder).__name__
    head = type(embedding_model.embedding_head).__name__
    num_parameters = sum(p.numel() for p in embedding_model.parameters())
    num_speakers = len(training["speakers"])
    has_development = training["dev_eer"] is not None
    decision = NO_DECISION
    if has_development:
        second = DECISION_P01
        if training["threshold_p01"] is None:
            is_reject_all = training["dev_min_dcf"] == 1
            second = NO_THRESHOLD_P01.format(
                reason=REJECT_ALL if is_reject_all else OLD_CHECKPOINT
            )
        decision = f"{DECISION} {second}"
    rows = "\n".join(
        f"| {name} | {'not known' if value is None else value} |"
        for name, value in (
            ("data", training["data"]),
            ("speakers", num_speakers),
            ("hours", training.get("hours")),
            ("noise", training.get("noise") or "none"),
            ("rooms", training.get("rooms") or "none"),
            *_told_start(training.get("init_from")),
            ("seed", training["seed"]),
            ("epoch", _tell_epochs(training)),
            ("commit", training["commit"]),
        )
    )
    return f"""\
---
library_name: speechbrain
tags:
- speechbrain
- speaker-verification
---

# Speaker embeddings: {encoder}

Speech of {sample_rate} Hz to a speaker embedding, for speaker verification: \
encoder
`{encoder}`, head `{head}`, {num_parameters:,} parameters. `hyperparams.yaml`
describes it in full.

## Use

{USE}

{decision}

{DANGER}

## Training

| | |
|---|---|
{rows}

## Measured

{_tell_development(training)}

{block("tests", UNTESTED)}

{block("int8", "")}

## Limits

Trained on {num_speakers} speakers of {training["data"]}. Not tested, as far as
this folder knows, on more than the trials above: other languages, ages,
microphones, noise or rooms, on voices that are imitated, synthetic or
replayed, nor for fairness between groups of speakers. Intervals are over
speakers: they say nothing of other trainings, or of other conditions.
"""


def _tell_development(training: dict) -> str:
    if training["dev_eer"] is None:
        if "averaged_epochs" in training:
            return "There were no development trials."
        return "There were no development trials. This is the last epoch."
    eer = _with_interval(training["dev_eer"], training["dev_eer_interval"], 100)
    cost = _with_interval(
        training["dev_min_dcf"], training["dev_min_dcf_interval"], 1
    )
    thresholds = [
        "none" if value is None else f"{value:.4f}"
        for value in (training["threshold"], training["threshold_p01"])
    ]
    chosen = "Epoch and thresholds"
    if "averaged_epochs" in training:
        chosen = "The thresholds"
    return (
        f"On {training['num_dev_trials']} trials of "
        f"{training['num_dev_speakers']} development speakers, of the same "
        "data and not trained on:\n\n"
        "| EER, % | minDCF(0.01) | threshold at the EER | at minDCF(0.01) |\n"
        "|---|---|---|---|\n"
        f"| {eer} | {cost} | {' | '.join(thresholds)} |\n\n"
        f"In brackets: 95 % intervals over the speakers. {chosen} were chosen "
        "on these trials, so both rates are too low for a fair test."
    )


def _with_interval(
    value: float, interval: list[float] | None, scale: float
) -> str:
    decimals = 2 if scale == 100 else 3
    text = f"{scale * value:.{decimals}f}"
    if interval is None:
        return f"{text} (interval not known)"
    low, high = (f"{scale * end:.{decimals}f}" for end in interval)
    return f"{text} ({low} to {high})"


def block(name: str, text: str) -> str:
    """A part of a card that `replace_block` finds again.

    Example
    -------
    >>> print(block("tests", "None."))
    <!-- tests -->
    None.
    <!-- end of tests -->
    """
    lines = [f"<!-- {name} -->", *([text] if text else [])]
    return "\n".join([*lines, f"<!-- end of {name} -->"])


def replace_block(card: str, name: str, text: str) -> str:
    """Put another text into a block; the rest stays as people left it.

    Arguments
    ---------
    card : str
        Of `describe_model`, perhaps edited.
    name : str
        The block's.
    text : str
        Markdown.

    Returns
    -------
    card : str
        With it.

    Raises
    ------
    ValueError
        Where the card has not exactly one such block.

    Example
    -------
    >>> card = "# Model\\n" + block("tests", "None.")
    >>> print(replace_block(card, "tests", "One."))
    # Model
    <!-- tests -->
    One.
    <!-- end of tests -->
    """
    pattern = f"<!-- {name} -->\n.*?<!-- end of {name} -->"
    found = re.findall(pattern, card, re.S)
    if len(found) != 1:
        raise ValueError(
            f"README.md has {len(found)} blocks from '<!-- {name} -->' to "
            f"'<!-- end of {name} -->', not 1: put both lines where the "
            "results shall stand"
        )
    return card.replace(found[0], block(name, text))
