"""What the files of a corpus hold, whoever writes them."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from synthetic_files import Settings, plan_jobs
from synthetic_speech import SAMPLE_RATE

from custom_modules.scoring import read_trials

TINY = Settings(
    seed=1986,
    num_train_speakers=2,
    num_test_speakers=4,
    num_sessions=2,
    utterances_per_session=2,
    num_trials=24,
    num_noises=1,
    num_rirs=1,
    utterance_seconds=(0.5, 0.6),
)


def write(dest, settings):
    for job in plan_jobs(dest, settings):
        for file in job.files:
            (dest / file).parent.mkdir(parents=True, exist_ok=True)
        job.write()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    dest = tmp_path_factory.mktemp("corpus")
    write(dest, TINY)
    return dest


def test_every_job_writes_the_files_it_names_and_no_others(tmp_path):
    jobs = plan_jobs(tmp_path, TINY)
    names = [file for job in jobs for file in job.files]
    assert len(names) == len(set(names))
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for job in reversed(jobs):
        before = set(tmp_path.rglob("*.*"))
        job.write()
        written = set(tmp_path.rglob("*.*")) - before
        assert written == {tmp_path / file for file in job.files}


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
    trials = read_trials(corpus / "meta/veri_test2.txt")
    pairs = list(zip(trials.enrol, trials.test, strict=True))
    assert len(pairs) == len(set(map(frozenset, pairs))) == 24
    same_gender = []
    for is_target, pair in zip(trials.is_target, pairs, strict=True):
        for path in pair:
            assert (corpus / "wav" / path).is_file()
        (enrol, enrol_session, _), (test, test_session, _) = (
            path.split("/") for path in pair
        )
        assert is_target == (enrol == test)
        if enrol == test:
            assert enrol_session != test_session
        else:
            same_gender.append(genders[enrol] == genders[test])
    assert len(same_gender) == 12
    assert sum(same_gender) == 6


def test_trials_stop_where_the_target_pairs_end(tmp_path):
    """3 speakers, each with one pair of sessions of one utterance."""
    write(
        tmp_path,
        TINY._replace(
            num_test_speakers=3, utterances_per_session=1, num_trials=1000
        ),
    )
    trials = read_trials(tmp_path / "meta/veri_test2.txt")
    assert sorted(trials.is_target) == [False] * 3 + [True] * 3


def test_a_speaker_does_not_depend_on_the_number_of_speakers(corpus, tmp_path):
    write(tmp_path, TINY._replace(num_train_speakers=1))
    paths = sorted((tmp_path / "wav").rglob("*.wav"))
    assert len(paths) == 5 * 2 * 2
    for path in paths:
        other = corpus / path.relative_to(tmp_path)
        assert path.read_bytes() == other.read_bytes()


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
        plan_jobs(tmp_path, TINY._replace(**setting))


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


def test_noises_are_coloured_hum_and_babble(tmp_path):
    write(tmp_path, TINY._replace(num_noises=3))
    names = sorted(path.name for path in (tmp_path / "noise").iterdir())
    assert names == ["babble_03.wav", "coloured_01.wav", "hum_02.wav"]
    for name in names:
        info = soundfile.info(tmp_path / "noise" / name)
        assert 6.0 <= info.duration <= 10.0
    wav, _ = soundfile.read(tmp_path / "noise/hum_02.wav")
    peak = np.argmax(np.abs(np.fft.rfft(wav))) * SAMPLE_RATE / len(wav)
    mains = min((50.0, 60.0), key=lambda f: abs(peak / f - round(peak / f)))
    assert peak / mains == pytest.approx(round(peak / mains), rel=0.01)


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
