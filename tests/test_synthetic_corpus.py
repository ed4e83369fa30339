import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import synthetic_corpus
from synthetic_corpus import (
    draw_channel,
    make_corpus,
    room_impulse_response,
    transmit,
)
from synthetic_voices import SAMPLE_RATE

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


def read_trials(dest):
    lines = (dest / "meta/veri_test2.txt").read_text().splitlines()
    return [line.split(" ") for line in lines]


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


def test_table_lists_every_speaker(corpus):
    lines = (corpus / "meta/vox1_meta.csv").read_text().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header == [
        *("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
    ]
    assert {row[0] for row in rows} == {
        path.name for path in (corpus / "wav").iterdir()
    }
    assert {row[0] for row in rows if row[4] == "test"} == {
        f"id{number}" for number in range(10270, 10274)
    }


def test_wavs_are_16_bit_mono_and_neither_silent_nor_clipped(corpus):
    paths = list(corpus.rglob("*.wav"))
    assert len(paths) == 6 * 2 * 2 + 1 + 1
    for path in paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (SAMPLE_RATE, 1)
        assert info.subtype == "PCM_16"
        wav, _ = soundfile.read(path)
        assert np.abs(wav).max() < 0.99
        assert wav.std() > 1e-3
    for path in (corpus / "wav").rglob("*.wav"):
        assert 0.5 <= soundfile.info(path).duration <= 0.6


def test_trials_are_balanced_and_honest(corpus):
    """Half target, from two sessions; half of the impostors of one gender."""
    lines = (corpus / "meta/vox1_meta.csv").read_text().splitlines()[1:]
    genders = {line.split("\t")[0]: line.split("\t")[2] for line in lines}
    trials = read_trials(corpus)
    assert len(trials) == 24
    assert len({frozenset(pair) for _, *pair in trials}) == 24
    same_gender = []
    for label, *pair in trials:
        for path in pair:
            assert (corpus / "wav" / path).is_file()
        (enrol, enrol_session, _), (test, test_session, _) = (
            path.split("/") for path in pair
        )
        assert label == str(int(enrol == test))
        if enrol == test:
            assert enrol_session != test_session
        else:
            same_gender.append(genders[enrol] == genders[test])
    assert len(same_gender) == 12
    assert sum(same_gender) == 6


def test_trials_stop_where_the_target_pairs_end(tmp_path):
    """3 speakers, each with one pair of sessions of one utterance."""
    settings = {**TINY, "num_test_speakers": 3, "utterances_per_session": 1}
    make_corpus(tmp_path, **{**settings, "num_trials": 1000})
    labels = [label for label, *_ in read_trials(tmp_path)]
    assert sorted(labels) == ["0"] * 3 + ["1"] * 3


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


def test_a_speaker_does_not_depend_on_the_number_of_speakers(corpus, tmp_path):
    make_corpus(tmp_path, **{**TINY, "num_train_speakers": 1})
    ours, others = hashes(tmp_path), hashes(corpus)
    names = [name for name in ours if name.startswith("wav/")]
    assert all(ours[name] == others[name] for name in names)


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
        patch.setattr(synthetic_corpus, "_write_noise", interrupt)
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_test_speakers": 41}, "num_test_speakers .* at most 40: 41"),
        ({"num_test_speakers": 2}, "num_test_speakers must be at least 3"),
        ({"num_sessions": 1}, "num_sessions must be at least 2"),
        ({"utterance_seconds": (2.0, 1.0)}, r"\(shortest, longest\)"),
    ],
)
def test_impossible_settings_are_errors(setting, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_corpus(tmp_path / "none", **{**TINY, **setting})
    assert not (tmp_path / "none").exists()


def test_sessions_of_a_speaker_differ_in_level(corpus):
    def level(session):
        wavs = [soundfile.read(path)[0] for path in sorted(session.iterdir())]
        return np.array([10 * np.log10(np.mean(wav**2)) for wav in wavs])

    differences = []
    for speaker in sorted((corpus / "wav").iterdir()):
        levels = [level(session) for session in speaker.iterdir()]
        assert all(np.ptp(within) < 0.1 for within in levels)
        differences += [abs(a.mean() - b.mean()) for a, b in pairwise(levels)]
    assert np.mean(differences) > 1.0


def test_a_channel_colours_noise_by_its_equaliser_and_level():
    """White noise in, so that the output's spectrum is the channel's."""
    channel = draw_channel(np.random.default_rng(0))._replace(
        equaliser=np.array([6.0]), low_cut=10.0, high_cut=1e5, snr=100.0
    )
    rng = np.random.default_rng(1)
    wav = transmit(rng.standard_normal(1 << 17), channel, rng)
    assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(channel.level)
    power = np.abs(np.fft.rfft(wav)) ** 2
    frequencies = np.fft.rfftfreq(len(wav), 1 / SAMPLE_RATE)
    # cos(0) at 0 Hz, cos(pi) at half the sample rate: 12 dB between them.
    low = power[(frequencies > 50) & (frequencies < 100)].mean()
    high = power[frequencies > 7900].mean()
    assert 10 * np.log10(low / high) == pytest.approx(12.0, abs=1.0)


def test_noises_are_coloured_hum_and_babble(tmp_path):
    make_corpus(tmp_path, **{**TINY, "num_noises": 3})
    names = sorted(path.name for path in (tmp_path / "noise").iterdir())
    assert names == ["babble_03.wav", "coloured_01.wav", "hum_02.wav"]
    for name in names:
        info = soundfile.info(tmp_path / "noise" / name)
        assert 6.0 <= info.duration <= 10.0
    wav, _ = soundfile.read(tmp_path / "noise/hum_02.wav")
    peak = np.argmax(np.abs(np.fft.rfft(wav))) * SAMPLE_RATE / len(wav)
    mains = min((50.0, 60.0), key=lambda f: abs(peak / f - round(peak / f)))
    assert peak / mains == pytest.approx(round(peak / mains), rel=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rt60", [0.2, 0.45, 0.7])
def test_a_room_reverberates_as_long_as_requested(rt60, seed):
    """Schroeder's backward integration of the tail, -5 to -25 dB."""
    rir = room_impulse_response(rt60, np.random.default_rng(seed))
    assert np.argmax(np.abs(rir)) == 0
    tail = rir[round(0.04 * SAMPLE_RATE) :]
    decay = np.cumsum(tail[::-1] ** 2)[::-1]
    decibels = 10 * np.log10(decay / decay[0])
    fitted = np.flatnonzero((decibels < -5) & (decibels > -25))
    slope, _ = np.polyfit(fitted / SAMPLE_RATE, decibels[fitted], 1)
    assert -60 / slope == pytest.approx(rt60, rel=0.2)


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
    trials = read_trials(tmp_path)
    is_target = np.array([label == "1" for label, *_ in trials])
    scores = np.array(
        [embeddings[enrol] @ embeddings[test] for _, enrol, test in trials]
    )
    ranked = is_target[np.argsort(-scores)]
    misses = 1 - np.cumsum(ranked) / ranked.sum()
    false_alarms = np.cumsum(~ranked) / (~ranked).sum()
    crossing = np.argmin(np.abs(misses - false_alarms))
    assert misses[crossing] > 0.20
