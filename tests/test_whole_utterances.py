"""Whole utterances, each once, in batches that suit the device."""

import pytest
import soundfile
from whole_utterances import choose_batch_seconds, make_evaluation_loader


def test_every_utterance_is_evaluated_once_the_longest_first(manifest):
    wavs = sorted((manifest.parent / "wav").rglob("*.wav"))
    utterances = {path.stem: path for path in wavs}
    durations = {path.stem: soundfile.info(path).duration for path in wavs}
    loader = make_evaluation_loader(utterances, durations, 5.0, 16000, 0)
    batches = [batch.id for batch in loader]
    order = [utt_id for batch in batches for utt_id in batch]
    assert [len(batch) for batch in batches] == [3, 3, 5, 1]
    for batch in batches:
        assert len(batch) * durations[batch[0]] <= 5.0
    assert order == sorted(durations, key=durations.get, reverse=True)


def test_the_speech_of_a_batch_suits_the_device():
    assert choose_batch_seconds(None, "cpu") == 15
    assert choose_batch_seconds(None, "cuda:0") == 160
    for device in ("cpu", "cuda:0"):
        assert choose_batch_seconds(7, device) == 7
    for wrong in (0, -1.0):
        with pytest.raises(ValueError, match=r"must be positive, or null"):
            choose_batch_seconds(wrong, "cpu")
