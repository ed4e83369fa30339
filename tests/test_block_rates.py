"""Error rates of blocks, against verify.py's."""

import json
import shutil
from pathlib import Path

import block_rates
import pytest
import torch
from block_embeddings import BlockEmbeddings
from block_rates import (
    measure_blocks,
    measure_model_blocks,
    measure_trainings,
)
from embedding_cache import EmbeddingCache
from evaluation import locate_utterances
from extraction import load_model, score_trials
from voxceleb1_layout import find_utterances

from custom_modules.metrics import equal_error_rate
from custom_modules.scoring import index_utterances, read_trials, speaker_id

SETTINGS = {
    "batch_seconds": 4.0,
    "num_workers": 0,
    "num_resamples": 20,
    "seed": 1986,
}


@pytest.fixture
def trial_list(corpus):
    return corpus / "meta" / "veri_test2.txt"


def test_the_final_embeddings_rate_is_that_of_verify(
    corpus, trained, verified, trial_list
):
    rates = measure_trainings(
        {"MFCon": str(trained)}, str(corpus), trial_list, "cpu", **SETTINGS
    )
    report = json.loads((verified / "report.json").read_text())
    (model,) = rates["models"]
    for key, value in model["final"].items():
        assert report[key] == value, key
    shared = report.keys() & rates.keys()
    assert len(shared) > 8
    for key in shared:
        assert report[key] == rates[key], key
    for family in ("statistics", "heads"):
        assert [point["block"] for point in model[family]] == [1, 2]
    assert model["training"]["epoch"] in (1, 2)


def test_each_blocks_rate_is_that_of_its_embeddings(trial_list):
    trials = read_trials(trial_list)
    generator = torch.Generator().manual_seed(0)
    utt_ids = index_utterances(trials).utt_ids
    voices = {
        speaker_id(utt_id): torch.randn(8, generator=generator)
        for utt_id in utt_ids
    }
    vectors = [
        {
            utt_id: strength * voices[speaker_id(utt_id)]
            + torch.randn(8, generator=generator)
            for utt_id in utt_ids
        }
        for strength in (0.0, 0.5, 3.0)
    ]
    embeddings = BlockEmbeddings(
        vectors[0], {2: vectors[1], 1: vectors[2]}, {3: vectors[1]}
    )
    rates = measure_blocks(embeddings, trials, num_resamples=5, seed=0)
    eers = [
        100 * equal_error_rate(score_trials(trials, one), trials.is_target)[0]
        for one in vectors
    ]
    assert len(set(eers)) == 3
    assert rates["final"]["eer_percent"] == pytest.approx(eers[0], abs=1e-4)
    found = [
        (point["block"], point["eer_percent"])
        for point in rates["statistics"] + rates["heads"]
    ]
    for (block, eer), expected in zip(
        found, [(1, eers[2]), (2, eers[1]), (3, eers[1])], strict=True
    ):
        assert block == expected[0]
        assert eer == pytest.approx(expected[1], abs=1e-4)


def test_speakers_that_were_trained_on_are_refused(corpus, trained, tmp_path):
    training = json.loads((trained / "model" / "training.json").read_text())
    speakers = training["speakers"][:2]
    names = [
        [utt_id for utt_id in find_utterances(corpus) if speaker in utt_id]
        for speaker in speakers
    ]
    (first, second, *_), (other, *_) = names
    path = tmp_path / "seen.txt"
    path.write_text(f"1 {first}.wav {second}.wav\n0 {first}.wav {other}.wav\n")
    with pytest.raises(ValueError, match=f"trained on 2 .* {speakers[0]}"):
        measure_trainings(
            {"MFCon": str(trained)}, str(corpus), path, "cpu", **SETTINGS
        )


def measure_folder(
    folder, corpus, trial_list, hparams_file="hyperparams.yaml", cache=None
):
    trials = read_trials(trial_list)
    model, training = load_model(folder, hparams_file, {"device": "cpu"})
    utterances = locate_utterances(
        trials, trial_list, find_utterances(str(corpus))
    )
    return measure_model_blocks(
        model, training, folder, trials, utterances, cache=cache, **SETTINGS
    )


def test_a_loaded_models_blocks_rate_as_its_trainings(
    corpus, trained, trial_list
):
    """And without the training around it, all but the heads."""
    expected = measure_trainings(
        {"MFCon": str(trained)}, str(corpus), trial_list, "cpu", **SETTINGS
    )["models"][0]
    found = measure_folder(trained / "model", corpus, trial_list)
    assert found["heads_left_out"] is None
    assert len(found["heads"]) == len(found["statistics"]) == 2
    for key in ("statistics", "heads", "final"):
        assert found[key] == expected[key]


def test_blocks_are_embedded_once(
    corpus, trained, trial_list, tmp_path, monkeypatch
):
    """With heads and without are kept apart."""
    cache = EmbeddingCache(tmp_path, "key")
    plain = measure_folder(trained / "model", corpus, trial_list)
    first = measure_folder(trained / "model", corpus, trial_list, cache=cache)
    assert first == plain
    bare = shutil.copytree(trained / "model", tmp_path / "bare" / "model")
    without = measure_folder(bare, corpus, trial_list, cache=cache)
    assert without["heads"] == []
    assert without["statistics"] == first["statistics"]

    def embed_blocks(loader, trained):
        raise AssertionError("embedded again")

    monkeypatch.setattr(block_rates, "embed_blocks", embed_blocks)
    again = measure_folder(trained / "model", corpus, trial_list, cache=cache)
    assert again == first
    assert measure_folder(bare, corpus, trial_list, cache=cache) == without


def test_a_bare_model_folder_has_no_heads(
    corpus, trained, trial_list, tmp_path
):
    bare = shutil.copytree(trained / "model", tmp_path / "bare" / "model")
    found = measure_folder(bare, corpus, trial_list)
    assert found["heads"] == []
    assert len(found["statistics"]) == 2
    assert "not in the folder of its training" in found["heads_left_out"]
    shutil.copy(trained / "hyperparams.yaml", tmp_path / "bare")
    found = measure_folder(bare, corpus, trial_list)
    assert found["heads"] == []
    assert "no checkpoint with the model's" in found["heads_left_out"]


def test_a_model_without_blocks_is_left_out_by_name(corpus, trial_list):
    folder = Path(__file__).parents[1] / "hparams" / "models"
    yaml_file = "mean_and_deviation.yaml"
    found = measure_folder(folder, corpus, trial_list, yaml_file)
    assert found == {
        "left_out": "FeatureEncoder has no outputs of several blocks"
    }
