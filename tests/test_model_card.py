"""What a model folder says of itself."""

import json
import re
from pathlib import Path

import pytest
import yaml
from model_card import describe_model, replace_block

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
        f"| hours | {training['hours']} |",
        "| noise | noise |",
        "| rooms | rir |",
        f"| seed | {training['seed']} |",
        f"| epoch | {training['epoch']} |",
        f"| commit | {training['commit']} |",
    ):
        assert row in card
    text = (folder / "hyperparams.yaml").read_text()
    thresholds = [
        re.search(rf"(?m)^{key}: *(\S*)", text)[1]
        for key in ("threshold", "threshold_p01")
    ]
    cells = [f"{float(x):.4f}" if x else "none" for x in thresholds]
    eer, cost = 100 * training["dev_eer"], training["dev_min_dcf"]
    low, high = (100 * x for x in training["dev_eer_interval"])
    low_cost, high_cost = training["dev_min_dcf_interval"]
    assert (
        f"| {eer:.2f} ({low:.2f} to {high:.2f}) | "
        f"{cost:.3f} ({low_cost:.3f} to {high_cost:.3f}) | "
        f"{' | '.join(cells)} |"
    ) in card
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


def card_of(**changed):
    embedder = SpeakerEmbedder(FeatureEncoder(8), StatisticsPooling(8))
    training = dict.fromkeys(("seed", "epoch", "commit", "hours"), 0)
    training |= {"data": "VoxCeleb1", "speakers": ["id1", "id2"]}
    training |= {"noise": None, "rooms": None, "dev_eer": 0.05}
    training |= {"dev_eer_interval": [0.04, 0.06], "dev_min_dcf": 0.5}
    training |= {"dev_min_dcf_interval": None, "num_dev_trials": 100}
    training |= {"num_dev_speakers": 7, "threshold": 0.25}
    training |= {"threshold_p01": 0.5}
    return describe_model(embedder, 16000, training | changed)


def test_rates_and_thresholds_are_those_of_development():
    card = card_of()
    assert "| 5.00 (4.00 to 6.00) | 0.500 (interval not known) |" in card
    assert "| 0.2500 | 0.5000 |" in card
    assert "On 100 trials of 7 development speakers" in card
    assert "score > model.hparams.threshold" in card
    assert "model.hparams.threshold_p01" in card
    assert "Trained on 2 speakers of VoxCeleb1" in card


def test_without_development_trials_no_decision_and_no_rate_is_given():
    card = card_of(dev_eer=None, threshold=None, threshold_p01=None)
    assert "score > model.hparams.threshold" not in card
    assert "threshold_p01" not in card
    assert "EER, %" not in card
    assert "choose one on trials of your own" in card


@pytest.mark.parametrize(
    ("cost", "reason"), [(1.0, "rejecting every"), (0.5, "is older than")]
)
def test_a_threshold_that_is_not_there_has_a_reason(cost, reason):
    card = card_of(threshold_p01=None, dev_min_dcf=cost)
    assert "| 0.2500 | none |" in card
    assert re.search(rf"no threshold for p = 0\.01: .*{reason}", card)
    assert "score > model.hparams.threshold" in card


def test_a_block_is_replaced_and_the_rest_is_left():
    card = "mine\n" + card_of() + "\nalso mine\n"
    changed = replace_block(card, "tests", "| one |\n| two |")
    assert "nothing so far" not in changed
    again = replace_block(changed, "tests", "On other trials: nothing so far.")
    assert again == card
    for wrong in ("no block", card + card):
        with pytest.raises(ValueError, match=r"README.md has \d blocks from"):
            replace_block(wrong, "tests", "")
