"""When a corpus is written, replaced or left alone."""

import hashlib
import json

import numpy as np
import pytest
import soundfile
import synthetic_corpus
import synthetic_files
from synthetic_corpus import make_corpus

from custom_modules.scoring import read_trials

TINY = {
    "num_train_speakers": 2,
    "num_test_speakers": 4,
    "num_sessions": 2,
    "utterances_per_session": 2,
    "num_trials": 24,
    "num_noises": 1,
    "num_rirs": 1,
    "utterance_seconds": (0.5, 0.6),
    "num_processes": 1,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    dest = tmp_path_factory.mktemp("corpus")
    make_corpus(dest, **TINY)
    return dest


def hashes(dest):
    return {
        str(path.relative_to(dest)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(dest.rglob("*"))
        if path.is_file()
    }


def test_layout_is_voxceleb1s(corpus):
    assert {path.name for path in corpus.iterdir()} == {
        *("wav", "meta", "noise", "rir", "corpus.json")
    }
    speakers = sorted(path.name for path in (corpus / "wav").iterdir())
    assert speakers == ["id10001", "id10002"] + [
        f"id{number}" for number in range(10270, 10274)
    ]
    for speaker in speakers:
        sessions = list((corpus / "wav" / speaker).iterdir())
        assert len(sessions) == 2
        for session in sessions:
            assert len(session.name) == 11
            names = sorted(path.name for path in session.iterdir())
            assert names == ["00001.wav", "00002.wav"]


def test_bytes_depend_on_the_seed_not_on_the_number_of_processes(
    corpus, tmp_path
):
    make_corpus(tmp_path / "two", **{**TINY, "num_processes": 2})
    assert hashes(tmp_path / "two") == hashes(corpus)
    make_corpus(tmp_path / "other", seed=1, **TINY)
    # The table of speakers is the same for all seeds.
    other = hashes(tmp_path / "other")
    same = set(other.values()) & set(hashes(corpus).values())
    assert same == {other["meta/vox1_meta.csv"]}


def test_a_complete_corpus_is_left_alone(corpus, caplog):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    with caplog.at_level("INFO", logger=synthetic_corpus.__name__):
        make_corpus(corpus, **TINY)
    assert "is complete" in caplog.text
    after = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert after == before


def test_a_half_written_corpus_is_made_again(corpus, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthetic_files, "_write_noise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(tmp_path, **TINY)
    assert not json.loads((tmp_path / "corpus.json").read_text())["is_complete"]
    make_corpus(tmp_path, **TINY)
    assert hashes(tmp_path) == hashes(corpus)


def test_another_corpus_is_replaced_but_foreign_files_stay(corpus, tmp_path):
    make_corpus(tmp_path, seed=1, **TINY)
    note = tmp_path / "wav/id10001/mine.txt"
    note.write_text("mine")
    make_corpus(tmp_path, **TINY)
    assert note.read_text() == "mine"
    note.unlink()
    assert hashes(tmp_path) == hashes(corpus)


def test_a_corpus_of_an_older_version_is_replaced(
    corpus, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(synthetic_corpus, "VERSION", 0)
        make_corpus(tmp_path, **TINY)
    assert hashes(tmp_path) != hashes(corpus)
    make_corpus(tmp_path, **TINY)
    assert hashes(tmp_path) == hashes(corpus)


def test_impossible_settings_make_no_folder(tmp_path):
    with pytest.raises(ValueError, match="num_sessions must be at least 2"):
        make_corpus(tmp_path / "none", **{**TINY, "num_sessions": 1})
    assert not (tmp_path / "none").exists()


def test_a_users_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "corpus.json").write_text('{"by": "somebody else"}')
    before = hashes(tmp_path)
    with pytest.raises(FileExistsError, match="holds no synthetic corpus"):
        make_corpus(tmp_path, **TINY)
    assert hashes(tmp_path) == before


def test_a_users_file_in_the_way_is_not_overwritten(tmp_path):
    make_corpus(tmp_path, **{**TINY, "num_noises": 0})
    mine = tmp_path / "noise/coloured_01.wav"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match=r"coloured_01\.wav"):
        make_corpus(tmp_path, **TINY)
    assert mine.read_text() == "mine"


@pytest.mark.long
def test_long_term_spectra_do_not_solve_the_default_corpus(tmp_path):
    """Mean and deviation of 80 Fbanks, by cosine: an EER above 20 %."""
    import torch
    from speechbrain.lobes.features import Fbank

    make_corpus(tmp_path)
    fbank = Fbank(n_mels=80)
    embeddings = {}
    for path in (tmp_path / "wav").rglob("*.wav"):
        wav, _ = soundfile.read(path, dtype="float32")
        feats = fbank(torch.from_numpy(wav).unsqueeze(0)).squeeze(0)
        embedding = torch.cat([feats.mean(0), feats.std(0)]).numpy()
        name = path.relative_to(tmp_path / "wav").as_posix()
        embeddings[name] = embedding / np.linalg.norm(embedding)
    trials = read_trials(tmp_path / "meta/veri_test2.txt")
    scores = np.array(
        [
            embeddings[enrol] @ embeddings[test]
            for enrol, test in zip(trials.enrol, trials.test, strict=True)
        ]
    )
    ranked = trials.is_target[np.argsort(-scores)]
    misses = 1 - np.cumsum(ranked) / ranked.sum()
    false_alarms = np.cumsum(~ranked) / (~ranked).sum()
    crossing = np.argmin(np.abs(misses - false_alarms))
    assert misses[crossing] > 0.20
