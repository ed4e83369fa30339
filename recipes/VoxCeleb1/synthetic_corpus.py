"""Write a corpus of synthetic speakers in VoxCeleb1's layout.

    python synthetic_corpus.py DEST

makes all that the recipe reads, without a download and in a minute:

    DEST/wav/id10001/<session>/00001.wav    speech, 16 kHz
    DEST/meta/veri_test2.txt                trials: label enrol test
    DEST/meta/vox1_meta.csv                 speakers, tab separated
    DEST/noise/*.wav, DEST/rir/*.wav        for augmentation
    DEST/corpus.json                        settings, files, state

Voices are those of `synthetic_voices`. A session has its own mood, channel
(equaliser, band limits), level and background noise, all drawn without
regard to the speaker, so that long-term spectra mislead.

The same settings give the same bytes with any number of processes: every
utterance has its own generator, seeded by what it is.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from synthetic_voices import (
    SAMPLE_RATE,
    Mood,
    Voice,
    draw_mood,
    draw_voice,
    speak,
)

logger = logging.getLogger(__name__)

GENERATOR = "synthetic_corpus"
VERSION = 1  # count up when the same settings give other bytes
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


class Channel(NamedTuple):
    """What happens to all speech of a session.

    Arguments
    ---------
    equaliser : NDArray
        Coefficients in dB of cos(pi k x), k = 1, 2, ..., with x from 0 to
        1 along the mel scale.
    low_cut, high_cut : float
        Band limits in Hz, where 3 dB are lost.
    level : float
        Power in dB of full scale.
    snr : float
        Speech over background noise in dB.
    noise_slope : float
        The background's spectrum in dB per octave.
    """

    equaliser: NDArray
    low_cut: float
    high_cut: float
    level: float
    snr: float
    noise_slope: float


def draw_channel(rng: Generator) -> Channel:
    """Draw the channel of a session.

    The spreads set how hard the corpus is. They were chosen once, by the
    EER of long-term Fbank statistics, before any network saw the corpus.

    Arguments
    ---------
    rng : Generator
        Source of randomness.

    Returns
    -------
    channel : Channel

    Example
    -------
    >>> 15 <= draw_channel(np.random.default_rng(0)).snr <= 30
    True
    """
    return Channel(
        equaliser=rng.normal(0.0, 1.0, 4) * (2.0, 1.5, 1.0, 0.7),
        low_cut=rng.uniform(30.0, 150.0),
        high_cut=rng.uniform(5000.0, 8000.0),
        level=rng.uniform(-30.0, -22.0),
        snr=rng.uniform(15.0, 30.0),
        noise_slope=rng.uniform(-8.0, -3.0),
    )


def transmit(wav: NDArray, channel: Channel, rng: Generator) -> NDArray:
    """Add a background to speech and send both through a channel.

    Arguments
    ---------
    wav : NDArray
        Speech (samples,).
    channel : Channel
        The session's.
    rng : Generator
        Source of the background noise.

    Returns
    -------
    wav : NDArray
        (samples,) at the channel's level, lower where it would clip.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> channel = draw_channel(rng)
    >>> wav = transmit(rng.normal(size=8000), channel, rng)
    >>> bool(np.isclose(10 * np.log10(np.mean(wav**2)), channel.level))
    True
    """
    background = coloured_noise(len(wav), channel.noise_slope, rng)
    gain = np.sqrt(np.mean(wav**2)) * 10 ** (-channel.snr / 20)
    size = _fft_size(len(wav))
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    mels = np.log1p(frequencies / 700) / np.log1p(SAMPLE_RATE / 2 / 700)
    decibels = sum(
        gain_db * np.cos(np.pi * k * mels)
        for k, gain_db in enumerate(channel.equaliser, start=1)
    )
    # Butterworth's magnitudes: second order below, eighth above.
    low = np.maximum(frequencies, 1.0) / channel.low_cut
    high = frequencies / channel.high_cut
    response = 10 ** (decibels / 20) / np.sqrt((1 + low**-4) * (1 + high**16))
    spectrum = np.fft.rfft(wav + gain * background, size) * response
    wav = np.fft.irfft(spectrum, size)[: len(wav)]
    wav *= 10 ** (channel.level / 20) / np.sqrt(np.mean(wav**2))
    return wav / max(1.0, np.abs(wav).max() / 0.98)


def coloured_noise(num_samples: int, slope: float, rng: Generator) -> NDArray:
    """Gaussian noise with a straight spectrum over log frequency.

    Arguments
    ---------
    num_samples : int
        Length.
    slope : float
        dB per octave above 50 Hz: 0 is white, -3 pink, -6 brown.
    rng : Generator
        Source of randomness.

    Returns
    -------
    noise : NDArray
        (num_samples,), of unit power.

    Example
    -------
    >>> noise = coloured_noise(8000, -3.0, np.random.default_rng(0))
    >>> bool(np.isclose(np.mean(noise**2), 1.0))
    True
    """
    size = _fft_size(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 50.0) / 50.0)
    spectrum *= 10 ** (slope * octaves / 20)
    noise = np.fft.irfft(spectrum, size)[:num_samples]
    return noise / np.sqrt(np.mean(noise**2))


def _fft_size(num_samples: int) -> int:
    """Next power of two: lengths with large prime factors take 10 times."""
    return 1 << (num_samples - 1).bit_length()


def room_impulse_response(rt60: float, rng: Generator) -> NDArray:
    """Simulate a room: direct path, early reflections, diffuse tail.

    The direct path is the first sample. Reflections and tail lose 60 dB in
    `rt60` seconds; the tail is Gaussian noise (Polack's model) and sets in
    while the reflections, at 3 to 40 ms, are still single.

    Arguments
    ---------
    rt60 : float
        Reverberation time in seconds, positive.
    rng : Generator
        Source of randomness.

    Returns
    -------
    rir : NDArray
        (samples,), 1.1 rt60 long; its peak is the direct path, of 1.

    Raises
    ------
    ValueError
        If the reverberation time is not positive.

    Example
    -------
    >>> len(room_impulse_response(0.5, np.random.default_rng(0)))
    8800
    """
    if rt60 <= 0:
        raise ValueError(f"rt60 must be positive, in seconds, not {rt60}")
    rir = rng.standard_normal(round(1.1 * rt60 * SAMPLE_RATE))
    onset = round(rng.uniform(0.005, 0.02) * SAMPLE_RATE)
    rir[:onset] = 0.0
    reflections = rng.integers(0.003 * SAMPLE_RATE, 0.04 * SAMPLE_RATE, 8)
    rir[reflections] += rng.uniform(2.0, 8.0, 8) * rng.choice((-1, 1), 8)
    rir *= 10 ** (-3 * np.arange(len(rir)) / (rt60 * SAMPLE_RATE))
    # Direct to reverberant energy: from a distant to a close microphone.
    ratio = rng.uniform(0.0, 10.0)
    rir *= 10 ** (-ratio / 20) / np.sqrt(np.sum(rir**2))
    rir[0] = 1.0
    return rir / max(1.0, np.abs(rir[1:]).max())


def draw_trials(
    speakers: NDArray, sessions: NDArray, num_trials: int, rng: Generator
) -> list[tuple[int, int, int]]:
    """Choose trials among all pairs of utterances, none of them twice.

    Half are targets, from different sessions; half of the impostors are of
    the same gender, which is the parity of the speaker.

    Arguments
    ---------
    speakers : NDArray
        Index of the speaker of each utterance (utterances,).
    sessions : NDArray
        Index of the session, of all speakers' sessions (utterances,).
    num_trials : int
        How many are wanted; fewer come where there are not enough pairs.
    rng : Generator
        Source of randomness.

    Returns
    -------
    trials : list[tuple[int, int, int]]
        Label (1 is target), enrolment and test utterance; sorted by the
        latter two.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> draw_trials(np.array([0, 0, 1, 2]), np.array([0, 1, 2, 3]), 4, rng)
    [(1, 0, 1), (0, 1, 3)]
    """
    enrol, test = np.triu_indices(len(speakers), k=1)
    is_target = speakers[enrol] == speakers[test]
    is_same_gender = speakers[enrol] % 2 == speakers[test] % 2
    kinds = [
        np.flatnonzero(is_target & (sessions[enrol] != sessions[test])),
        np.flatnonzero(~is_target & is_same_gender),
        np.flatnonzero(~is_target & ~is_same_gender),
    ]
    targets, same_gender, other_gender = map(len, kinds)
    half = min(num_trials // 2, targets, 2 * same_gender, 2 * other_gender)
    counts = (half, half - half // 2, half // 2)
    chosen = np.concatenate(
        [
            rng.choice(pairs, count, replace=False)
            for pairs, count in zip(kinds, counts, strict=True)
        ]
    )
    chosen.sort()
    columns = is_target[chosen].astype(int), enrol[chosen], test[chosen]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def make_corpus(
    dest: str | Path,
    seed: int = 1986,
    num_train_speakers: int = 64,
    num_test_speakers: int = 40,
    num_sessions: int = 4,
    utterances_per_session: int = 4,
    num_trials: int = 8000,
    num_noises: int = 20,
    num_rirs: int = 30,
    utterance_seconds: tuple[float, float] = (2.5, 5.0),
    num_processes: int | None = None,
) -> None:
    """Write the corpus, unless it is there already.

    A corpus of other settings, or a half-written one, is replaced; of the
    folder's files only those that `corpus.json` lists are ever removed.

    Arguments
    ---------
    dest : str | Path
        Folder of the corpus, made where missing.
    seed : int
        Of everything.
    num_train_speakers : int
        At most 1211.
    num_test_speakers : int
        From 3 (for impostors of the same gender) to 40.
    num_sessions : int
        For each speaker, at least 2.
    utterances_per_session : int
        At least 1.
    num_trials : int
        At most; fewer where there are not enough distinct target pairs.
    num_noises : int
        Coloured noise, hum and babble in turn.
    num_rirs : int
        Rooms, of 0.2 to 0.7 s.
    utterance_seconds : tuple[float, float]
        Shortest and longest utterance, from 0.5: less may be silence.
    num_processes : int | None
        None is one for each core. The files do not depend on it.

    Raises
    ------
    ValueError
        If a count is out of range.
    FileExistsError
        If the folder holds files that are not of an earlier corpus.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as dest:
    ...     make_corpus(dest, 0, 2, 3, 2, 1, 4, 1, 1, (0.5, 0.6), 1)
    ...     sorted(path.name for path in (Path(dest) / "wav").iterdir())
    ['id10001', 'id10002', 'id10270', 'id10271', 'id10272']
    """
    settings = Settings(
        seed,
        num_train_speakers,
        num_test_speakers,
        num_sessions,
        utterances_per_session,
        num_trials,
        num_noises,
        num_rirs,
        utterance_seconds,
    )
    _check(settings)
    dest = Path(dest)
    utterances = {
        speaker: _utterances(speaker, settings) for speaker in _ids(settings)
    }
    noises = [
        f"noise/{NOISE_KINDS[i % len(NOISE_KINDS)]}_{i + 1:02d}.wav"
        for i in range(num_noises)
    ]
    rirs = [f"rir/room_{i + 1:02d}.wav" for i in range(num_rirs)]
    wavs = [f"wav/{u}" for u in itertools.chain(*utterances.values())]
    meta = ["meta/veri_test2.txt", "meta/vox1_meta.csv"]
    record = {
        "generator": GENERATOR,
        "version": VERSION,
        # through JSON and back, where tuples turn into lists
        "settings": json.loads(json.dumps(settings._asdict())),
        "is_complete": True,
        "files": [*wavs, *meta, *noises, *rirs],
    }
    if _is_complete(dest, record):
        logger.info("%s is complete, nothing to do", dest.resolve())
        return
    _remove_earlier(dest, record["files"])
    for folder in {(dest / file).parent for file in record["files"]}:
        folder.mkdir(parents=True, exist_ok=True)
    # From here on the files are known to be ours, even after an interrupt.
    _write_record(dest, {**record, "is_complete": False})

    _write_meta(dest, utterances, settings)
    jobs = [
        *(partial(_write_speaker, dest, s, settings) for s in utterances),
        *(
            partial(_write_noise, dest, n, i, settings)
            for i, n in enumerate(noises)
        ),
        *(
            partial(_write_rir, dest, r, i, settings)
            for i, r in enumerate(rirs)
        ),
    ]
    if num_processes is None:
        num_processes = os.cpu_count() or 1
    if num_processes == 1:
        for job in jobs:
            job()
    else:
        # Not fork: it is unsafe once torch has started its threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(num_processes, context) as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result()
    _write_record(dest, record)
    logger.info("%s: %d files", dest.resolve(), len(record["files"]))


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


def _read_record(dest: Path) -> dict | None:
    """The corpus.json of an earlier run; None where there is none of ours."""
    path = dest / "corpus.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError:
        return None
    is_ours = isinstance(record, dict) and record.get("generator") == GENERATOR
    return record if is_ours else None


def _write_record(dest: Path, record: dict) -> None:
    """Replace corpus.json in one step: an interrupt leaves the old one."""
    partial_path = dest / "corpus.json.partial"
    partial_path.write_text(json.dumps(record, indent=1) + "\n")
    partial_path.replace(dest / "corpus.json")


def _is_complete(dest: Path, record: dict) -> bool:
    return _read_record(dest) == record and all(
        (dest / file).is_file() for file in record["files"]
    )


def _remove_earlier(dest: Path, files: list[str]) -> None:
    """Remove an earlier corpus, and make sure that no other file is hit."""
    earlier = _read_record(dest)
    if earlier is None and dest.exists() and any(dest.iterdir()):
        raise FileExistsError(
            f"{dest.resolve()} is not empty and holds no synthetic corpus: "
            "its files stay as they are; give a new or an empty folder"
        )
    if earlier is not None:
        logger.info("%s: replacing another corpus", dest.resolve())
        _write_record(dest, {**earlier, "is_complete": False})
        for file in earlier["files"]:
            (dest / file).unlink(missing_ok=True)
            for folder in (dest / file).parents[:3]:
                if (
                    folder == dest
                    or not folder.is_dir()
                    or any(folder.iterdir())
                ):
                    break
                folder.rmdir()
    for file in files:
        if (dest / file).exists():
            raise FileExistsError(
                f"{(dest / file).resolve()} would be overwritten, but "
                "corpus.json does not list it: move it away"
            )


def _write_meta(
    dest: Path, utterances: dict[int, list[str]], settings: Settings
) -> None:
    """Write the trial list of the test speakers and the table of all."""
    tests = [s for s in utterances if s in TEST_IDS]
    paths = [path for speaker in tests for path in utterances[speaker]]
    per_session = settings.utterances_per_session
    trials = draw_trials(
        np.repeat(tests, settings.num_sessions * per_session),
        np.arange(len(paths)) // per_session,
        settings.num_trials,
        np.random.default_rng([settings.seed, TRIALS]),
    )
    lines = [f"{label} {paths[e]} {paths[t]}\n" for label, e, t in trials]
    (dest / "meta/veri_test2.txt").write_text("".join(lines))

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


def main() -> None:
    """Make a corpus as the command line says."""
    parser = argparse.ArgumentParser(
        description="Write a corpus of synthetic speakers in VoxCeleb1's layout"
    )
    parser.add_argument("dest", type=Path, help="folder of the corpus")
    parser.add_argument("--seed", type=int, default=1986)
    parser.add_argument("--num_train_speakers", type=int, default=64)
    parser.add_argument("--num_test_speakers", type=int, default=40)
    parser.add_argument("--num_sessions", type=int, default=4)
    parser.add_argument("--utterances_per_session", type=int, default=4)
    parser.add_argument("--num_trials", type=int, default=8000)
    parser.add_argument("--num_noises", type=int, default=20)
    parser.add_argument("--num_rirs", type=int, default=30)
    parser.add_argument(
        "--utterance_seconds",
        type=float,
        nargs=2,
        default=(2.5, 5.0),
        metavar=("SHORTEST", "LONGEST"),
    )
    parser.add_argument(
        "--num_processes", type=int, help="default: one for each core"
    )
    arguments = vars(parser.parse_args())
    arguments["utterance_seconds"] = tuple(arguments["utterance_seconds"])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_corpus(**arguments)


if __name__ == "__main__":
    main()
