"""What a model folder says of itself, as its README.md."""

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
`verify_files` returns beside it is by a fixed 0.25: ignore it."""
DECISION = "`score > model.hparams.threshold`: the speaker is the same."
NO_DECISION = "The folder has no threshold: choose one on trials of your own."
DANGER = """\
**`from_hparams` runs whatever code the `hyperparams.yaml` of a folder names**
(`!new:`, `!apply:`). Load folders of people you trust only, and read that file
of any other first. `embedding_model.safetensors` has the same parameters as
`embedding_model.ckpt`, in a format that holds no code."""


def describe_model(
    embedding_model: nn.Module,
    sample_rate: int,
    threshold: float | None,
    training: dict,
) -> str:
    """Write a model card: what is known of the model and what is not.

    Arguments
    ---------
    embedding_model : nn.Module
        `SpeakerEmbedder`, with `encoder` and `embedding_head`.
    sample_rate : int
        Hz.
    threshold : float | None
        Cosine, chosen on development trials; None without these.
    training : dict
        data (name of the corpus), speakers, seed, epoch, dev_eer (a fraction),
        dev_min_dcf and commit; what is None is not known.

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
    >>> training |= {"epoch": 3, "commit": None, "dev_eer": None}
    >>> card = describe_model(embedder, 16000, None, training)
    >>> print(card[card.index("## Training") : card.index("## Limits")].strip())
    ## Training
    <BLANKLINE>
    | | |
    |---|---|
    | data | VoxCeleb1 |
    | speakers | 1 |
    | seed | 1 |
    | epoch | 3 |
    | commit | not known |
    <BLANKLINE>
    ## Measured
    <BLANKLINE>
    Nothing: there were no development trials. This is the last epoch.
    """
    encoder = type(embedding_model.encoder).__name__
    head = type(embedding_model.embedding_head).__name__
    num_parameters = sum(p.numel() for p in embedding_model.parameters())
    num_speakers = len(training["speakers"])
    measured = (
        "Nothing: there were no development trials. This is the last epoch."
    )
    if training["dev_eer"] is not None:
        measured = (
            "On trials of development speakers, of the same data and not "
            "trained on:\n\n"
            "| EER, % | minDCF(0.01) | threshold at the EER |\n|---|---|---|\n"
            f"| {100 * training['dev_eer']:.2f} | "
            f"{training['dev_min_dcf']:.3f} | {threshold:.4f} |\n\n"
            "Epoch and threshold were chosen on these trials, so both rates "
            "are too low for a fair test."
        )
    rows = "\n".join(
        f"| {name} | {'not known' if value is None else value} |"
        for name, value in (
            ("data", training["data"]),
            ("speakers", num_speakers),
            ("seed", training["seed"]),
            ("epoch", training["epoch"]),
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

{NO_DECISION if threshold is None else DECISION}

{DANGER}

## Training

| | |
|---|---|
{rows}

## Measured

{measured}

## Limits

Trained on {num_speakers} speakers of {training["data"]}. Not tested, as far as
this folder knows, on any other data: other languages, ages, microphones, noise
or rooms, on voices that are imitated, synthetic or replayed, nor for fairness
between groups of speakers.
"""
