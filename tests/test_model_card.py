"""What a model folder says of itself."""

import json
import re
from pathlib import Path

import pytest
import yaml
from model_card import describe_model

from custom_modules.baseline import FeatureEncoder
from custom_modules.heads import SpeakerEmbedder
from custom_modules.pooling import StatisticsPooling


def snippet(card):
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    return code


def test_the_card_of_a_training_tells_what_the_folder_holds(trained, corpus):
    folder = trained / "model"
    card = (folder / "README.md").read_text()
    training = json.loads((folder / "training.json").read_text())
    assert training["data"] == corpus.name
    for row in (
        f"| data | {corpus.name} |",
        f"| speakers | {len(training['speakers'])} |",
        f"| seed | {training['seed']} |",
        f"| epoch | {training['epoch']} |",
        f"| commit | {training['commit']} |",
    ):
        assert row in card
    text = (folder / "hyperparams.yaml").read_text()
    threshold = float(re.search(r"(?m)^threshold: (\S+)", text)[1])
    eer, cost = 100 * training["dev_eer"], training["dev_min_dcf"]
    assert f"| {eer:.2f} | {cost:.3f} | {threshold:.4f} |" in card
    front_matter = yaml.safe_load(card.split("---\n")[1])
    assert front_matter["library_name"] == "speechbrain"


def test_the_card_names_no_path_of_the_machine(trained):
    card = (trained / "model" / "README.md").read_text()
    assert not re.search(r"(?<![\w`])/\w", card)
    assert str(Path.home()) not in card
    assert str(trained.parent) not in card


def test_the_code_of_the_card_runs(trained, corpus):
    code = snippet((trained / "model" / "README.md").read_text())
    wavs = sorted((corpus / "wav" / "id10270").rglob("*.wav"))
    for old, new in (
        ("FOLDER", trained / "model"),
        ("a.wav", wavs[0]),
        ("b.wav", wavs[1]),
    ):
        assert code.count(old) == 1
        code = code.replace(old, str(new))
    names = {}
    exec(code, names)  # the card's own words
    assert -1 <= names["score"].item() <= 1


@pytest.mark.parametrize("threshold", [0.25, None])
def test_without_a_threshold_no_decision_and_no_rate_is_given(threshold):
    embedder = SpeakerEmbedder(FeatureEncoder(8), StatisticsPooling(8))
    training = dict.fromkeys(("seed", "epoch", "commit"), 0)
    training |= {"data": "VoxCeleb1", "speakers": ["id1", "id2"]}
    training |= {"dev_eer": None, "dev_min_dcf": None}
    if threshold is not None:
        training |= {"dev_eer": 0.05, "dev_min_dcf": 0.5}
    card = describe_model(embedder, 16000, threshold, training)
    assert ("score > model.hparams.threshold" in card) == bool(threshold)
    assert ("EER, %" in card) == bool(threshold)
    assert "Trained on 2 speakers of VoxCeleb1" in card
