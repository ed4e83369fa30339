"""Splits, manifests and refusals of the preparation of VoxCeleb1."""

import csv
import inspect
import json
import logging
import os
import shutil

import numpy as np
import pytest
import soundfile as sf
import voxceleb1_prepare
from speechbrain.dataio.dataset import DynamicItemDataset
from voxceleb1_layout import META_FILES
from voxceleb1_prepare import prepare_voxceleb1

from custom_modules.scoring import draw_trials, read_trials, speaker_id

RATE = 16000
NUM_SAMPLES = 4800
DEV = [f"id{10001 + i}" for i in range(20)]
TEST = [f"id{10270 + i}" for i in range(4)]
TRIALS = "".join(
    f"1 {spk}/s0/00001.wav {spk}/s1/00001.wav\n"
    f"0 {spk}/s0/00001.wav {other}/s1/00002.wav\n"
    for spk, other in zip(TEST, TEST[1:] + TEST[:1], strict=True)
)


def write_speakers(folder, speakers, suffix=".wav"):
    """Two sessions of two utterances each; every file its own noise."""
    for speaker in speakers:
        for session in ("s0", "s1"):
            for name in ("00001", "00002"):
                path = folder / speaker / session / (name + suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = int(speaker[2:] + session[1:] + name)
                wav = np.random.default_rng(seed).normal(0, 0.1, NUM_SAMPLES)
                sf.write(path, wav, RATE)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The corpus that the tests copy; written once."""
    folder = tmp_path_factory.mktemp("corpus")
    write_speakers(folder / "wav", DEV + TEST)
    (folder / "veri_test2.txt").write_text(TRIALS)
    return folder


@pytest.fixture
def corpus(original, tmp_path):
    return shutil.copytree(original, tmp_path / "VoxCeleb1")


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def speakers_of(path):
    return {row["spk_id"] for row in read_rows(path)}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Splits and manifests


def test_no_speaker_is_in_two_sets(corpus, tmp_path):
    manifests = prepare_voxceleb1(corpus, tmp_path / "save")
    train = speakers_of(manifests.train_csv)
    dev = speakers_of(manifests.dev_csv)
    assert len(dev) == 2  # a tenth of 20, not the 40 asked for
    assert train | dev == set(DEV)
    assert not train & dev
    trials = read_trials(manifests.dev_trials)
    names = {row["ID"] for row in read_rows(manifests.dev_csv)}
    assert len(names) == 8
    assert {*trials.enrol, *trials.test} <= names


def test_reduction_of_development_speakers_is_logged(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    prepare_voxceleb1(corpus, tmp_path / "save")
    assert "reduced from 40 to 2" in caplog.text


def test_rows_say_what_the_files_hold(corpus, tmp_path):
    path = corpus / "wav/id10001/s0/00001.wav"
    rng = np.random.default_rng(0)
    sf.write(path, rng.normal(0, 0.1, (44100, 2)), 44100)
    manifests = prepare_voxceleb1(corpus, tmp_path / "s", num_dev_speakers=0)
    rows = {row["ID"]: row for row in read_rows(manifests.train_csv)}
    assert len(rows) == 80
    assert rows["id10001/s0/00001"] == {
        "ID": "id10001/s0/00001",
        "duration": "1.0",
        "wav": "$data_root/wav/id10001/s0/00001.wav",
        "spk_id": "id10001",
    }
    assert rows["id10020/s1/00002"]["duration"] == str(NUM_SAMPLES / RATE)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_rows_point_into_the_layout_as_it_is(tmp_path, suffix):
    root = tmp_path / "other"
    write_speakers(root / "vox1_dev_wav/wav", DEV[:2], suffix)
    write_speakers(root / "vox1_test_wav/wav", TEST, suffix)
    (root / "veri_test.txt").write_text(TRIALS)
    manifests = prepare_voxceleb1(root, root / "save", num_dev_speakers=0)
    wavs = {row["wav"] for row in read_rows(manifests.train_csv)}
    assert len(wavs) == 8
    assert f"$data_root/vox1_dev_wav/wav/{DEV[0]}/s0/00001{suffix}" in wavs


def test_manifest_loads_with_speechbrain(corpus, tmp_path):
    manifests = prepare_voxceleb1(corpus, tmp_path / "save")
    dataset = DynamicItemDataset.from_csv(
        manifests.train_csv,
        replacements={"data_root": corpus},
        output_keys=["id", "duration", "wav", "spk_id"],
    )
    assert len(dataset) == 72
    item = dataset[0]
    assert item["duration"] == NUM_SAMPLES / RATE
    assert sf.info(item["wav"]).frames == NUM_SAMPLES
    assert speaker_id(item["id"]) == item["spk_id"]


def test_training_rows_are_shuffled_and_development_rows_sorted(
    corpus, tmp_path
):
    manifests = prepare_voxceleb1(corpus, tmp_path / "save")
    train = [row["ID"] for row in read_rows(manifests.train_csv)]
    dev = [row["ID"] for row in read_rows(manifests.dev_csv)]
    assert train != sorted(train)
    assert dev == sorted(dev)


def test_order_of_the_file_system_does_not_matter(
    corpus, tmp_path, monkeypatch
):
    prepare_voxceleb1(corpus, tmp_path / "first")
    scandir = os.scandir

    class Reversed(list):
        def __init__(self, folder):
            with scandir(folder) as entries:
                super().__init__(list(entries)[::-1])

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr("os.scandir", Reversed)
    prepare_voxceleb1(corpus, tmp_path / "second")
    monkeypatch.undo()
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_global_random_state_is_neither_used_nor_moved(corpus, tmp_path):
    voxceleb1_prepare.random.seed(1)
    state = voxceleb1_prepare.random.getstate()
    np_state = np.random.get_state()[1].copy()
    prepare_voxceleb1(corpus, tmp_path / "save")
    assert voxceleb1_prepare.random.getstate() == state
    assert (np.random.get_state()[1] == np_state).all()


def test_without_development_speakers(corpus, tmp_path):
    prepare_voxceleb1(corpus, tmp_path / "save")
    manifests = prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    assert manifests[1:] == (None, None)
    assert speakers_of(manifests.train_csv) == set(DEV)
    assert set(contents(tmp_path / "save")) == {"train.csv", "prepare.json"}


def test_one_development_speaker_is_an_error(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"\(1\) .*set num_dev_speakers to 0"):
        prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=1)


def test_too_few_speakers_for_a_tenth_is_an_error(corpus, tmp_path):
    shutil.rmtree(corpus / "wav" / DEV[0])
    with pytest.raises(ValueError, match=r"tenth of the 19 speakers .* to 0"):
        prepare_voxceleb1(corpus, tmp_path / "save")


def test_one_training_speaker_is_an_error(corpus, tmp_path):
    for speaker in DEV[1:]:
        shutil.rmtree(corpus / "wav" / speaker)
    with pytest.raises(ValueError, match=r"1 of 5 speakers .* needs 2"):
        prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)


def test_trial_list_of_another_corpus_is_a_warning(corpus, tmp_path, caplog):
    trials = "1 p1/a/1.wav p1/b/1.wav\n0 p1/a/1.wav p2/a/1.wav\n"
    (corpus / "veri_test2.txt").write_text(trials)
    manifests = prepare_voxceleb1(corpus, tmp_path / "save")
    assert "none of the 2 speakers of the trial list" in caplog.text
    assert len(speakers_of(manifests.train_csv)) == 22


@pytest.mark.parametrize("name", META_FILES)
def test_genders_reach_the_development_trials(
    corpus, tmp_path, monkeypatch, name
):
    """So do sessions, the number of trials and the seed."""
    (corpus / name).parent.mkdir(exist_ok=True)
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    lines += [f"{spk}\tName\t{'mf'[int(spk[-1]) % 2]}\tX\tdev" for spk in DEV]
    (corpus / name).write_text("\n".join(lines) + "\n")
    seen = {}

    def spy(*arguments):
        names = inspect.signature(draw_trials).parameters
        seen.update(zip(names, arguments, strict=True))
        return draw_trials(*arguments)

    monkeypatch.setattr(voxceleb1_prepare, "draw_trials", spy)
    prepare_voxceleb1(corpus, tmp_path / "save", num_dev_trials=30, seed=3)
    assert seen["session_ids"] == ["s0", "s0", "s1", "s1"] * 2
    assert seen["genders"] == [
        "mf"[int(speaker[-1]) % 2] for speaker in seen["spk_ids"]
    ]
    assert seen["num_trials"] == 30
    assert seen["seed"] == 3


# Used again, or made anew


def test_manifests_are_used_again_without_reading_audio(
    corpus, tmp_path, monkeypatch, caplog
):
    first = prepare_voxceleb1(corpus, tmp_path / "save")
    before = contents(tmp_path / "save")
    monkeypatch.setattr(voxceleb1_prepare, "inspect_many", None)
    caplog.set_level(logging.INFO)
    assert prepare_voxceleb1(corpus, tmp_path / "save") == first
    assert "up to date" in caplog.text
    assert contents(tmp_path / "save") == before


@pytest.mark.parametrize(
    "changed", [{"seed": 7}, {"num_dev_trials": 10}, {"num_dev_speakers": 2}]
)
def test_other_settings_make_manifests_anew(corpus, tmp_path, changed):
    prepare_voxceleb1(corpus, tmp_path / "save")
    prepare_voxceleb1(corpus, tmp_path / "save", **changed)
    prepare_voxceleb1(corpus, tmp_path / "fresh", **changed)
    assert contents(tmp_path / "save") == contents(tmp_path / "fresh")
    key, value = next(iter(changed.items()))
    settings = json.loads((tmp_path / "save" / "prepare.json").read_text())
    assert settings[key] == value


def test_other_seed_is_another_split(corpus, tmp_path):
    splits = {
        frozenset(
            speakers_of(
                prepare_voxceleb1(corpus, tmp_path / "save", seed=seed).dev_csv
            )
        )
        for seed in range(4)
    }
    assert len(splits) > 1


def test_another_file_makes_manifests_anew(corpus, tmp_path):
    prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    (corpus / "wav/id10001/s0/00001.wav").unlink()
    manifests = prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    assert len(read_rows(manifests.train_csv)) == 79


def test_another_trial_list_makes_manifests_anew(corpus, tmp_path):
    prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    (corpus / "veri_test2.txt").write_text(TRIALS.replace("id10273", "id1"))
    manifests = prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    assert speakers_of(manifests.train_csv) == {*DEV, "id10273"}


@pytest.mark.parametrize("name", ["train.csv", "dev.csv", "dev_trials.txt"])
def test_a_missing_manifest_is_made_anew(corpus, tmp_path, name):
    prepare_voxceleb1(corpus, tmp_path / "save")
    before = contents(tmp_path / "save")
    (tmp_path / "save" / name).unlink()
    prepare_voxceleb1(corpus, tmp_path / "save")
    assert contents(tmp_path / "save") == before


@pytest.mark.parametrize("text", ["", '{"seed"', "[]"])
def test_a_damaged_record_is_made_anew(corpus, tmp_path, text):
    prepare_voxceleb1(corpus, tmp_path / "save")
    before = contents(tmp_path / "save")
    (tmp_path / "save" / "prepare.json").write_text(text)
    prepare_voxceleb1(corpus, tmp_path / "save")
    assert contents(tmp_path / "save") == before


def test_interrupted_writing_is_not_taken_for_complete(
    corpus, tmp_path, monkeypatch
):
    prepare_voxceleb1(corpus, tmp_path / "save")
    before = contents(tmp_path / "save")
    with monkeypatch.context() as patch:
        patch.setattr(voxceleb1_prepare, "write_trials", None)
        with pytest.raises(TypeError):
            prepare_voxceleb1(corpus, tmp_path / "save", seed=2)
    assert "prepare.json" not in contents(tmp_path / "save")
    prepare_voxceleb1(corpus, tmp_path / "save")
    assert contents(tmp_path / "save") == before


# Refusals


def test_nothing_is_written_where_there_is_no_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data_folder"):
        prepare_voxceleb1(tmp_path / "none", tmp_path / "save")
    assert not (tmp_path / "save").exists()


def spoil(path, kind):
    rng = np.random.default_rng(0)
    wav = rng.normal(0, 0.1, NUM_SAMPLES)
    if kind == "text":
        path.write_text("not audio")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif kind == "silent":
        sf.write(path, np.zeros(NUM_SAMPLES), RATE)
    elif kind == "8 kHz":
        sf.write(path, wav, 8000)
    elif kind == "NaN":
        wav[5] = np.nan
        sf.write(path, wav, RATE, subtype="FLOAT")


REASONS = {
    "text": "not audio",
    "empty": "empty file",
    "truncated": "truncated",
    "silent": "silent",
    "8 kHz": "sample rate 8000 Hz",
    "NaN": "NaN or infinity",
}


def test_all_bad_files_are_named_in_one_error(corpus, tmp_path):
    prepare_voxceleb1(corpus, tmp_path / "save")
    before = contents(tmp_path / "save")
    paths = sorted((corpus / "wav").rglob("*.wav"))
    for path, kind in zip(paths, REASONS, strict=False):
        spoil(path, kind)
    with pytest.raises(ValueError, match="6 of 96 audio files") as caught:
        prepare_voxceleb1(corpus, tmp_path / "save", seed=2)
    for path, reason in zip(paths, REASONS.values(), strict=False):
        assert f"{path}: {reason}" in str(caught.value)
    assert "Repair them" in str(caught.value)
    after = contents(tmp_path / "save")
    assert after.pop("bad_files.txt").count(b"\n") == 6
    assert after == before


def test_error_names_ten_bad_files_and_the_list_all(corpus, tmp_path):
    paths = sorted((corpus / "wav").rglob("*.wav"))[:13]
    for path in paths:
        spoil(path, "text")
    with pytest.raises(ValueError, match=r"and 3 more\nAll .*bad_files\.txt"):
        prepare_voxceleb1(corpus, tmp_path / "save")
    listed = (tmp_path / "save" / "bad_files.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in listed] == [*map(str, paths)]
    for path in paths:
        path.unlink()
    prepare_voxceleb1(corpus, tmp_path / "save", num_dev_speakers=0)
    assert "bad_files.txt" not in contents(tmp_path / "save")
