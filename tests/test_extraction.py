"""From embeddings to scores, at VoxCeleb1-O's size."""

import threading
import time

import numpy as np
import pytest
import torch
from extraction import embed_batch, embed_utterances, score_trials
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.lobes.features import Fbank

from custom_modules.baseline import Unnormalised
from custom_modules.metrics import equal_error_rate, min_dcf
from custom_modules.scoring import Trials


def test_voxceleb1_o_is_scored_and_measured_in_a_second():
    """37,720 trials of 4,708 utterances, two costs and the EER."""
    rng = np.random.default_rng(0)
    names = [f"id/{i}" for i in range(4708)]
    embeddings = {
        name: torch.from_numpy(rng.normal(size=192)) for name in names
    }
    pairs = rng.integers(0, len(names), (2, 37720))
    is_target = np.arange(37720) % 2 == 0
    trials = Trials(
        [names[i] for i in pairs[0]], [names[i] for i in pairs[1]], is_target
    )
    started = time.perf_counter()
    scores = score_trials(trials, embeddings)
    equal_error_rate(scores, is_target)
    for p_target in (0.01, 0.001):
        min_dcf(scores, is_target, p_target=p_target)
    assert time.perf_counter() - started < 1.0
    a, b = (embeddings[names[i]] for i in pairs[:, 17])
    expected = torch.cosine_similarity(a, b, dim=0).item()
    assert scores[17] == pytest.approx(expected, abs=1e-6)


def test_batches_are_embedded_in_threads_and_read_as_they_are_needed():
    """Each with one thread of torch; never all waveforms at once."""
    done, ahead, threads = [], [], set()

    class Mean(torch.nn.Module):
        def forward(self, feats, lengths):
            threads.add((threading.get_ident(), torch.get_num_threads()))
            assert not torch.is_grad_enabled()
            time.sleep(0.002)
            done.append(1)
            return feats.mean(dim=1, keepdim=True)

    modules = {
        "compute_features": Fbank(n_mels=8),
        "mean_var_norm": Unnormalised(),
        "embedding_model": Mean(),
    }

    def batches():
        for i in range(40):
            ahead.append(i - len(done))
            yield PaddedBatch([{"id": f"{i}", "sig": torch.rand(4000 + i)}])

    before = torch.get_num_threads()
    embeddings = embed_utterances(batches(), modules, "cpu")
    assert list(embeddings) == [f"{i}" for i in range(40)]
    assert max(ahead) <= 3 * before + 1
    assert threading.get_ident() not in {thread for thread, _ in threads}
    assert {number for _, number in threads} == {1}
    assert torch.get_num_threads() == before


def test_an_embedding_that_is_not_finite_is_named():
    class Spoil(torch.nn.Module):
        def forward(self, feats, lengths):
            embeddings = feats.mean(dim=1, keepdim=True)
            embeddings[1] = torch.nan
            return embeddings

    modules = {
        "compute_features": Fbank(n_mels=8),
        "mean_var_norm": Unnormalised(),
        "embedding_model": Spoil(),
    }
    batch = PaddedBatch(
        [{"id": name, "sig": torch.rand(4000)} for name in ("good", "bad")]
    )
    with pytest.raises(ValueError, match="of bad are not finite"):
        embed_batch(batch, modules)


def test_want_of_memory_says_what_was_tried():
    class Greedy(torch.nn.Module):
        def forward(self, feats, lengths):
            return torch.empty(2**60)

    modules = {
        "compute_features": Fbank(n_mels=8),
        "mean_var_norm": Unnormalised(),
        "embedding_model": Greedy(),
    }
    batch = PaddedBatch([{"id": "a", "sig": torch.rand(4000)}])
    message = r"with 1 whole utterances of up to 4000 samples: .*batch_seconds"
    with pytest.raises(ValueError, match=message):
        embed_batch(batch, modules)
