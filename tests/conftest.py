"""What several tests need."""

import shutil
from pathlib import Path

import average_checkpoints
import experiment_run
import numpy as np
import pytest
import soundfile
import train_speaker_embeddings
import verify
from recipe_commands import run_verify, train
from synthetic_corpus import make_corpus

DATA = Path(__file__).parent / "data"
RECIPE = Path(__file__).parents[1] / "recipes" / "VoxCeleb1"


@pytest.fixture
def golden():
    """Load the published code's numbers, by file name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(DATA / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def write_wav(tmp_path):
    """Write noise of a seed as a WAV; give its path and its samples."""

    def write(name="noise.wav", seconds=1.0, rate=16000, channels=1, seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        shape = (int(seconds * rate), channels)
        samples = rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        soundfile.write(path, samples, rate, subtype="FLOAT")
        return path, samples

    return write


@pytest.fixture
def manifest(tmp_path):
    """Twelve utterances of three speakers, of 0.5 to 1.6 s."""
    rows = ["ID,duration,wav,spk_id"]
    for i in range(12):
        utt_id = f"id1000{i % 3}/session/{i:05d}"
        path = tmp_path / "wav" / f"{utt_id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(i).uniform(-0.5, 0.5, 8000 + 1600 * i)
        soundfile.write(path, samples, 16000)
        duration = len(samples) / 16000
        rows.append(
            f"{utt_id},{duration},$data_root/wav/{utt_id}.wav,id1000{i % 3}"
        )
    path = tmp_path / "train.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def audio_files_of_every_kind(tmp_path):
    """Files of every kind that is stored in another way."""
    rng = np.random.default_rng(0)
    kinds = [
        ("wav/id1/a/1.wav", 16000, 1, "PCM_16"),
        ("wav/id1/a/2.flac", 16000, 1, "PCM_16"),
        ("wav/id1/b/1.wav", 16000, 2, "PCM_16"),
        ("wav/id2/a/1.wav", 44100, 1, "PCM_24"),
        ("noise/é.wav", 16000, 3, "FLOAT"),
    ]
    files = {}
    for name, rate, channels, subtype in kinds:
        files[name] = tmp_path / "plain" / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        samples = rng.uniform(-1, 1, (5001, channels))
        soundfile.write(files[name], samples, rate, subtype=subtype)
    return files


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "VoxCeleb1"
    make_corpus(
        folder,
        num_train_speakers=20,
        num_test_speakers=4,
        num_sessions=2,
        utterances_per_session=2,
        num_trials=40,
        num_noises=2,
        num_rirs=2,
        utterance_seconds=(0.6, 1.4),
        num_processes=1,
    )
    return folder


@pytest.fixture
def commands_in_process(monkeypatch):
    """Run the processes of `reproduce.py` in this one; (script, folder)s."""
    mains = {
        "train_speaker_embeddings.py": train_speaker_embeddings.main,
        "verify.py": verify.main,
        "average_checkpoints.py": average_checkpoints.main,
    }
    calls = []

    def call(launcher, run, script, hparams, overrides, lock):
        calls.append((script, run.folder.name))
        words = experiment_run.words(overrides)
        mains[script]([hparams, *run.options, *words])

    monkeypatch.setattr(experiment_run, "_call", call)
    return calls


@pytest.fixture
def copied(corpus, tmp_path):
    """A corpus that a test may spoil."""
    return Path(shutil.copytree(corpus, tmp_path / "data"))


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory):
    """Output folder of a finished training."""
    output = tmp_path_factory.mktemp("trained")
    train(corpus, output)
    return output


@pytest.fixture(scope="session")
def verified(corpus, trained):
    """Output folder of its verification."""
    run_verify(corpus, trained / "model", trained / "verification")
    return trained / "verification"
