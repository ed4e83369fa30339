"""Readers of untrusted input give a result or one line that names it.

The examples are the same in every run. `tracemalloc` counts NumPy's arrays
and not torch's tensors, hence the bound on these.
"""

import io
import struct
import sys
import tracemalloc
from datetime import timedelta

import numpy as np
import pytest
import soundfile
import torch
import train_speaker_embeddings
import verify
from audio_files import inspect_audio
from command import load_experiment
from embedding_cache import EmbeddingCache
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from manifest import Manifest
from recipe_commands import HPARAMS, NARROW
from speechbrain.utils.importutils import LazyModule
from speechbrain.utils.run_opts import RunOptions

from custom_modules.audio import read_audio
from custom_modules.score_files import read_score_file
from custom_modules.trials import (
    read_scores,
    read_trials,
    write_scores,
    write_trials,
)

RATE = 16000
MAX_BYTES = 2**26
MAX_MESSAGE = 1000  # characters
DEADLINE = timedelta(seconds=10)


@pytest.fixture(params=[100, pytest.param(10_000, marks=pytest.mark.long)])
def fuzz(request, monkeypatch):
    """Call a function on many examples of a strategy."""
    # Hypothesis asks each module for its file, which would import the lazy
    # ones of SpeechBrain, some of which need what is not installed.
    for name, module in list(sys.modules.items()):
        if isinstance(module, LazyModule):
            monkeypatch.delitem(sys.modules, name)

    def run(check, examples, share=1.0):
        settings(
            max_examples=int(request.param * share),
            derandomize=True,
            database=None,
            deadline=DEADLINE,
            phases=[Phase.generate],  # to shrink may take minutes
            suppress_health_check=list(HealthCheck),
        )(given(examples)(check))()

    return run


def read_or_refuse(read, path, *arguments):
    """The result; None after a ValueError of one line that names the file."""
    tracemalloc.start()
    try:
        return read(path, *arguments)
    except ValueError as error:
        message = str(error)
        assert str(path) in message
        assert len(message.splitlines()) == 1
        assert len(message) < MAX_MESSAGE
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MAX_BYTES


def edited(examples, patches):
    """Bytes with some overwritten, the end cut off, others appended."""

    @st.composite
    def draw_edited(draw):
        content = bytearray(draw(examples))
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, min(len(content), 99)))
            patch = draw(patches)
            content[at : at + len(patch)] = patch
        end = draw(st.just(len(content)) | st.integers(0, len(content)))
        return bytes(content[:end]) + draw(st.just(b"") | st.binary())

    return draw_edited()


def texts(head, fields, separator):
    """Any bytes, any text, and lists of good lines and of wrong ones."""
    field = (
        st.sampled_from([*fields, head, "", "..", "a/../b", "/a", "\ufeff"])
        | st.sampled_from(["nan", "-inf", "1e999", "\0", "1_0", '"', "a\rb"])
        | st.sampled_from([*range(1, 20), 150_000]).map("9".__mul__)
        | st.text(max_size=8)
    )
    good = st.just(fields)
    bad = st.lists(field, max_size=6) | st.tuples(
        *(st.just(part) | field for part in fields)
    )
    lines = st.lists((good | good | bad).map(separator.join), max_size=6)
    ends = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])
    starts = st.sampled_from(["", "", "", "\ufeff"])
    structured = st.builds(
        lambda start, head, lines, end: (
            start + end.join([*head, *lines])
        ).encode(),
        starts,
        st.sampled_from([[head], [head], []]),
        lines,
        ends,
    )
    return (
        st.binary(max_size=300)
        | st.text(max_size=300).map(str.encode)
        | structured
        | structured
        | edited(structured, st.binary(max_size=4))
    )


def test_trials(fuzz, tmp_path):
    """What is read stays within the data folder and can be written."""
    path, copy = tmp_path / "trials.txt", tmp_path / "copy.txt"

    def check(content):
        path.write_bytes(content)
        trials = read_or_refuse(read_trials, path)
        if trials is not None:
            for name in (*trials.enrol, *trials.test):
                assert not name.startswith("/")
                assert ".." not in name.split("/")
            write_trials(copy, trials)
            again = read_trials(copy)
            assert again[:2] == trials[:2]
            assert again.is_target.tolist() == trials.is_target.tolist()

    fields = ["1", "a/1/1.wav", "a/2/1.wav"]
    fuzz(check, texts("0 a/1/1.wav b/1/1.wav", fields, " "))


def test_scores(fuzz, tmp_path):
    path, copy = tmp_path / "scores.txt", tmp_path / "copy.txt"

    def check(content):
        path.write_bytes(content)
        scored = read_or_refuse(read_scores, path)
        if scored is not None:
            write_scores(copy, *scored)
            assert read_scores(copy)[1].tolist() == scored[1].tolist()

    fields = ["1", "a/1/1.wav", "a/2/1.wav", "-0.5"]
    fuzz(check, texts("0 a/1/1.wav b/1/1.wav 0.5", fields, " "))


def test_scores_of_any_toolkit(fuzz, tmp_path):
    """A finite score for each trial, or none."""
    path = tmp_path / "scores.txt"

    def check(content):
        path.write_bytes(content)
        found = read_or_refuse(read_score_file, path)
        if found is not None:
            assert np.isfinite(found.scores).all()
            for column in (found.pairs, found.is_target):
                assert column is None or len(column) == len(found.scores)

    fields = ["a/1/1.wav", "a/2/1.wav", "-0.5", "target"]
    fuzz(check, texts("a/1/1.wav b/1/1.wav 0.5 nontarget", fields, "\t"))


def test_embedding_cache(fuzz, tmp_path):
    cache = EmbeddingCache(tmp_path, "key")
    cache.store({f"{i:064x}": torch.randn(4) for i in range(3)})
    whole = cache.path.read_bytes()

    def check(content):
        cache.path.write_bytes(content)
        found = read_or_refuse(lambda _: cache.load(), cache.path)
        for digest, embedding in (found or {}).items():
            assert len(digest) == 64
            assert embedding.ndim == 1
            assert embedding.isfinite().all()

    fuzz(check, edited(st.just(whole), PATCHES))


def test_manifest(fuzz, tmp_path):
    path = tmp_path / "train.csv"

    def check(content):
        path.write_bytes(content)
        manifest = read_or_refuse(Manifest, path, "/data")
        for index in range(len(manifest or ())):
            row = read_or_refuse(lambda _, i=index: manifest[i], path)
            if row is not None:
                assert all(row)
                assert 0 < row.duration < np.inf

    fields = ["a/1/1", "1.5", "$data_root/a/1/1.wav", "a"]
    fuzz(check, texts("ID,duration,wav,spk_id", fields, ","))


def audio(file_format, subtype, channels=1, rate=RATE):
    """A file of 50 ms."""
    samples = np.random.default_rng(0).uniform(
        -0.5, 0.5, (rate // 20, channels)
    )
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=file_format)
    return file.getvalue()


AUDIO = [
    audio("WAV", "PCM_16"),
    audio("WAV", "PCM_16", channels=2, rate=44100),
    audio("WAV", "PCM_24"),
    audio("WAV", "FLOAT", channels=2),
    audio("WAVEX", "PCM_16"),
    audio("FLAC", "PCM_16"),
    audio("FLAC", "PCM_24", channels=2),
]
WORDS = [0, 1, 2, 16, 16001, 2**15, 2**31 - 1, 2**31, 2**32 - 1]
HUGE = struct.pack("<f", 3e38) * 4
PATCHES = (
    st.binary(min_size=1, max_size=8)
    | st.sampled_from(WORDS).map(lambda word: struct.pack("<I", word))
    | st.sampled_from(WORDS).map(lambda word: struct.pack(">I", word))
    | st.sampled_from([b"data", b"fmt ", b"RIFF", b"fLaC", HUGE])
)
MAGIC = [b"", b"RIFF\0\0\0\0WAVE", b"fLaC\0\0\0\x22", b"OggS", b"FORM", b".snd"]
AUDIO_FILES = edited(st.sampled_from(AUDIO), PATCHES) | st.builds(
    bytes.__add__, st.sampled_from(MAGIC), st.binary(max_size=300)
)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_audio(fuzz, tmp_path, suffix):
    """Inspected, read whole, and in part."""
    path = tmp_path / f"a.{suffix}"

    def check(content):
        path.write_bytes(content)
        info = read_or_refuse(inspect_audio, path, RATE)
        assert info is None or info.num_samples > 0
        for segment in ((), (100, 300)):
            wav = read_or_refuse(read_audio, path, RATE, *segment)
            if wav is not None:
                assert wav.ndim == 1
                assert wav.isfinite().all()
                assert 0 < wav.nbytes < MAX_BYTES
                assert not segment or len(wav) == 300

    fuzz(check, AUDIO_FILES)


def overrides(keys):
    """Words `--key=value`; no tags, for these are code, and no large number."""
    letters = st.characters(exclude_characters="!/0123456789")
    values = (
        st.integers(-2, 64).map(str)
        | st.floats().map(str)
        | st.sampled_from(["", "null", "True", "2001-99-99", "0b_", "=", "<<"])
        | st.sampled_from(["- a", "{a: 1}", "&a [*a]", "[1, 2]", "a: b", "--"])
        | st.sampled_from(keys).map("<{0}><{0}>".format)
        | st.sampled_from(
            ["9**9**9", "<seed>", "<trials>", "0/0", "a\nb", "\ud800", "\0"]
        )
        | st.sampled_from(["[", "{", "- ", "[{"]).map(lambda part: part * 400)
        | st.text(letters, max_size=20)
    )
    names = (
        st.sampled_from([*keys, *RunOptions().as_dict(), "h", "d", "- a", "?"])
        | st.sampled_from(["", "{", "1", "null", "[]", "a: b", "# a", '"'])
        | st.text(letters, max_size=10)
    )
    return st.lists(
        st.builds(lambda name, value: f"--{name}={value}", names, values),
        max_size=3,
    )


def load_or_refuse(words, keys):
    """A ValueError of one line that names the YAML file or the override."""
    try:
        experiment = load_experiment(words, keys)
    except ValueError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        named = [words[0], "the overrides", *map(repr, words)]
        assert any(name in message for name in named)
    else:
        assert set(keys) <= set(experiment.hparams)


def test_overrides_of_a_verification(fuzz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [str(HPARAMS / "verify.yaml")]

    def check(words):
        load_or_refuse([*argv, *words], verify.KEYS)

    fuzz(check, overrides(verify.KEYS))


def test_overrides_of_a_training(fuzz, tmp_path, monkeypatch):
    """A tenth of the examples: each makes a network, in 0.1 s or more."""
    monkeypatch.chdir(tmp_path)  # the checkpointer makes folders
    argv = [str(HPARAMS / "mfcon.yaml"), *NARROW]

    def check(words):
        load_or_refuse([*argv, *words], train_speaker_embeddings.KEYS)

    fuzz(check, overrides(train_speaker_embeddings.KEYS), share=0.1)
