"""The files of a synthetic corpus: their names, and what is in them.

Every utterance, noise and room has its own generator, seeded by what it is,
so that the bytes of a file depend on the settings alone.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from synthetic_acoustics import (
    coloured_noise,
    draw_channel,
    room_impulse_response,
    transmit,
)
from synthetic_speech import SAMPLE_RATE, speak
from synthetic_voices import Mood, Voice, draw_mood, draw_voice

# Not from custom_modules.scoring: each process would import torch with it.
from custom_modules.trial_sampling import draw_trials
from custom_modules.trials import speaker_id, write_trials

# VoxCeleb1's test speakers; all others below id11252 train.
TEST_IDS = range(10270, 10310)
TRAIN_IDS = (*range(10001, 10270), *range(10310, 11252))
TOKEN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
NOISE_KINDS = ("coloured", "hum", "babble")
# First number after the seed of every generator: one stream for each use.
VOICE, SESSION, UTTERANCE, TRIALS, NOISE, ROOM = range(6)


class Settings(NamedTuple):
    """What the bytes of a corpus depend on; see `make_corpus`."""

    seed: int
    num_train_speakers: int
    num_test_speakers: int
    num_sessions: int
    utterances_per_session: int
    num_trials: int
    num_noises: int
    num_rirs: int
    utterance_seconds: tuple[float, float]


class Job(NamedTuple):
    """Files below the corpus, and the function that writes them."""

    files: list[str]
    write: Callable[[], None]


def plan_jobs(dest: Path, settings: Settings) -> list[Job]:
    """Name the files of a corpus, without writing any.

    Arguments
    ---------
    dest : Path
        Folder of the corpus.
    settings : Settings
        What to write.

    Returns
    -------
    jobs : list[Job]
        In any order, by any process, once the files' folders are there.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Example
    -------
    >>> settings = Settings(0, 2, 3, 2, 1, 4, 1, 1, (0.5, 0.6))
    >>> jobs = plan_jobs(Path("corpus"), settings)
    >>> jobs[0].files[0].split("/")[:2], jobs[-1].files
    (['wav', 'id10001'], ['rir/room_01.wav'])
    """
    _check(settings)
    utterances = {
        speaker: _utterances(speaker, settings) for speaker in _ids(settings)
    }
    noises = [
        f"noise/{NOISE_KINDS[i % len(NOISE_KINDS)]}_{i + 1:02d}.wav"
        for i in range(settings.num_noises)
    ]
    rirs = [f"rir/room_{i + 1:02d}.wav" for i in range(settings.num_rirs)]
    return [
        *(
            Job(
                [f"wav/{path}" for path in paths],
                partial(_write_speaker, dest, speaker, settings),
            )
            for speaker, paths in utterances.items()
        ),
        Job(
            ["meta/veri_test2.txt", "meta/vox1_meta.csv"],
            partial(_write_meta, dest, utterances, settings),
        ),
        *(
            Job([path], partial(_write_noise, dest, path, i, settings))
            for i, path in enumerate(noises)
        ),
        *(
            Job([path], partial(_write_rir, dest, path, i, settings))
            for i, path in enumerate(rirs)
        ),
    ]


def _check(settings: Settings) -> None:
    """Refuse settings of which no corpus can be made."""
    ranges = {
        "num_train_speakers": (1, len(TRAIN_IDS)),
        "num_test_speakers": (3, len(TEST_IDS)),
        "num_sessions": (2, None),
        "utterances_per_session": (1, None),
        "num_trials": (2, None),
        "num_noises": (0, None),
        "num_rirs": (0, None),
        "seed": (0, None),
    }
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if value < low or (high is not None and value > high):
            limit = "" if high is None else f" and at most {high}"
            raise ValueError(f"{name} must be at least {low}{limit}: {value}")
    shortest, longest = settings.utterance_seconds
    if not 0.5 <= shortest <= longest:
        raise ValueError(
            "utterance_seconds must be (shortest, longest), from 0.5 s: "
            f"{settings.utterance_seconds}"
        )


def _ids(settings: Settings) -> tuple[int, ...]:
    """Numbers of the speakers; even ones are men, odd ones women."""
    return (
        *TRAIN_IDS[: settings.num_train_speakers],
        *TEST_IDS[: settings.num_test_speakers],
    )


def _utterances(speaker: int, settings: Settings) -> list[str]:
    """Paths of a speaker's utterances below wav/, session by session."""
    paths = []
    for session in range(settings.num_sessions):
        rng = np.random.default_rng([settings.seed, SESSION, speaker, session])
        token = "".join(rng.choice(list(TOKEN_LETTERS), 11))
        paths += [
            f"id{speaker}/{token}/{utterance + 1:05d}.wav"
            for utterance in range(settings.utterances_per_session)
        ]
    return paths


def _write_meta(
    dest: Path, utterances: dict[int, list[str]], settings: Settings
) -> None:
    """Write the trial list of the test speakers and the table of all."""
    tests = [s for s in utterances if s in TEST_IDS]
    paths = [path for speaker in tests for path in utterances[speaker]]
    rng = np.random.default_rng([settings.seed, TRIALS])
    trials = draw_trials(
        paths,
        [speaker_id(path) for path in paths],
        [path.split("/")[1] for path in paths],
        [_gender(speaker) for speaker in tests for _ in utterances[speaker]],
        settings.num_trials,
        seed=int(rng.integers(2**32)),
    )
    write_trials(dest / "meta/veri_test2.txt", trials)

    rows = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"]
    for speaker in sorted(utterances):
        part = "test" if speaker in TEST_IDS else "dev"
        rows.append(
            f"id{speaker}\tSynthetic_{speaker}\t{_gender(speaker)}\tNone"
            f"\t{part}\n"
        )
    (dest / "meta/vox1_meta.csv").write_text("".join(rows))


def _gender(speaker: int) -> str:
    return "mf"[speaker % 2]


def _voice(speaker: int, seed: int) -> Voice:
    rng = np.random.default_rng([seed, VOICE, speaker])
    return draw_voice(_gender(speaker), rng)


def _write_speaker(dest: Path, speaker: int, settings: Settings) -> None:
    """Write all utterances of one speaker."""
    voice = _voice(speaker, settings.seed)
    for index, path in enumerate(_utterances(speaker, settings)):
        session, utterance = divmod(index, settings.utterances_per_session)
        # The same draws for each utterance of the session, after its name.
        rng = np.random.default_rng(
            [settings.seed, SESSION, speaker, session, 1]
        )
        mood, channel = draw_mood(rng), draw_channel(rng)
        rng = np.random.default_rng(
            [settings.seed, UTTERANCE, speaker, session, utterance]
        )
        seconds = rng.uniform(*settings.utterance_seconds)
        wav = speak(voice, mood, round(seconds * SAMPLE_RATE), rng)
        _write_wav(dest / "wav" / path, transmit(wav, channel, rng))


def _write_noise(dest: Path, path: str, index: int, settings: Settings) -> None:
    """Write a noise of 6 to 10 s: coloured, mains hum, or babble."""
    rng = np.random.default_rng([settings.seed, NOISE, index])
    num_samples = round(rng.uniform(6.0, 10.0) * SAMPLE_RATE)
    noise = coloured_noise(num_samples, rng.uniform(-9.0, 0.0), rng)
    kind = NOISE_KINDS[index % len(NOISE_KINDS)]
    if kind == "hum":
        mains = rng.choice((50.0, 60.0)) * (1 + rng.normal(0.0, 0.002))
        time = np.arange(num_samples) / SAMPLE_RATE
        noise *= 0.05
        for harmonic in range(1, 21):
            gain = rng.exponential() / harmonic
            phase = rng.uniform(0.0, 2 * np.pi)
            noise += gain * np.sin(2 * np.pi * mains * harmonic * time + phase)
    elif kind == "babble":
        # Training speakers only: the test ones must not be heard before.
        speakers = rng.choice(TRAIN_IDS[: settings.num_train_speakers], 6)
        noise *= 0.05
        for speaker in speakers.tolist():
            voice = _voice(speaker, settings.seed)
            noise += speak(voice, Mood(0.0, 0.0, 1.0), num_samples, rng)
    _write_wav(dest / path, 0.5 * noise / np.abs(noise).max())


def _write_rir(dest: Path, path: str, index: int, settings: Settings) -> None:
    rng = np.random.default_rng([settings.seed, ROOM, index])
    rir = room_impulse_response(rng.uniform(0.2, 0.7), rng)
    _write_wav(dest / path, 0.9 * rir)


def _write_wav(path: Path, wav: NDArray) -> None:
    # Rounded here, so that no library decides how.
    samples = np.round(wav * 32767).astype(np.int16)
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
