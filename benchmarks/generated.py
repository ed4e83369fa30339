"""The data that the benchmarks read: noise, in files of a stated size."""

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000  # Hz
SPEAKERS = 20
SESSIONS = 5
# A WAV of 20 samples: what 150,000 utterances cost beside their audio.
TINY_SAMPLES = bytes(range(40))
TINY_WAV = (
    b"RIFF"
    + struct.pack("<I", 36 + len(TINY_SAMPLES))
    + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    + b"data"
    + struct.pack("<I", len(TINY_SAMPLES))
    + TINY_SAMPLES
)
# Trials of two speakers who are in no training.
TRIALS = (
    "1 id10270/s0/00000.wav id10270/s0/00001.wav\n"
    "0 id10270/s0/00000.wav id10271/s0/00000.wav\n"
)


def write_corpus(folder: Path, num_files: int, seconds: float) -> None:
    """Write 16-bit WAVs of noise in VoxCeleb1's layout, and a trial list."""
    rng = np.random.default_rng(0)
    for index in range(num_files):
        speaker = f"id{10001 + index % SPEAKERS}"
        session = f"s{index // SPEAKERS % SESSIONS}"
        path = folder / "wav" / speaker / session / f"{index:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_noise(path, seconds, rng)
    (folder / "veri_test2.txt").write_text(TRIALS)


def write_tiny_corpus(folder: Path, num_files: int) -> None:
    """Write WAVs of 20 samples, 120 to a speaker, 8 to a session."""
    made = set()
    for index in range(num_files):
        session = f"{folder}/wav/id{index // 120:07d}/{index // 8:011x}"
        if session not in made:
            Path(session).mkdir(parents=True, exist_ok=True)
            made.add(session)
        with open(f"{session}/{index:08d}.wav", "wb") as file:
            file.write(TINY_WAV)
    (folder / "veri_test2.txt").write_text(TRIALS)


def write_noise(path: Path, seconds: float, rng: np.random.Generator) -> None:
    """Write a 16-bit WAV of white noise."""
    samples = 3000 * rng.standard_normal(round(seconds * RATE))
    soundfile.write(path, samples.astype(np.int16), RATE, subtype="PCM_16")


def write_noises(folder: Path, num_files: int, seconds: float) -> list[Path]:
    """Write noises; their paths."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.wav" for index in range(num_files)]
    for path in paths:
        write_noise(path, seconds, rng)
    return paths


def write_rirs(folder: Path, num_files: int, seconds: float) -> list[Path]:
    """Write decaying impulse responses; their paths."""
    rng = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * RATE))
    paths = [folder / f"{index:05d}.wav" for index in range(num_files)]
    for path in paths:
        rir = 0.1 * rng.standard_normal(len(times))
        rir *= np.exp(-6.9 * times / len(times))  # 60 dB at its end
        rir[0] = 0.9
        soundfile.write(path, rir, RATE, subtype="PCM_16")
    return paths
