"""What a pooling attends to, found in a model folder."""

import json
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from attention_maps import load_attentive_model, map_attention
from hyperpyyaml import load_hyperpyyaml

from custom_modules.audio import read_audio

MODEL = """
sample_rate: 16000
compute_features: !new:speechbrain.lobes.features.Fbank
    sample_rate: 16000
    n_mels: 24
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
encoder: !new:custom_modules.conformer.MFAConformer
    n_mels: 24
    d_model: 16
    num_blocks: 2
    num_heads: 2
    d_ffn: 32
    subsampling: 4
pooling: !name:custom_modules.pooling.{pooling}
embedding_head: !new:custom_modules.heads.{head}
    input_size: 32
    emb_dim: 8
    pooling: !ref <pooling>
embedding_model: !new:custom_modules.heads.SpeakerEmbedder
    encoder: !ref <encoder>
    embedding_head: !ref <embedding_head>
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
    custom_hooks:
        embedding_model: !name:custom_modules.checkpoints.load_strictly
"""
EIGHT_HEADS = "SelfMultiHeadAttentionPooling\n    num_heads: 8"


def make_model(folder, pooling=EIGHT_HEADS, head="EmbeddingHead"):
    """A model folder with random parameters; queries large, to attend."""
    text = MODEL.format(pooling=pooling, head=head)
    torch.manual_seed(0)
    model = load_hyperpyyaml(text)["embedding_model"]
    for name, parameter in model.named_parameters():
        if name.endswith("queries"):
            parameter.data *= 3
    folder.mkdir()
    torch.save(model.state_dict(), folder / "embedding_model.ckpt")
    (folder / "hyperparams.yaml").write_text(text)
    (folder / "training.json").write_text(json.dumps({"speakers": []}))
    return folder


@pytest.fixture
def speech(corpus):
    return sorted((corpus / "wav").rglob("*.wav"))[0]


@pytest.mark.parametrize("head", ["EmbeddingHead", "DenseHead"])
def test_weights_are_those_that_pool_the_embedding(tmp_path, speech, head):
    """Computed a second time, by hand, from the same parameters."""
    folder = make_model(tmp_path / "model", head=head)
    found = map_attention(*load_attentive_model(folder, "cpu"), speech)
    hparams = load_hyperpyyaml((folder / "hyperparams.yaml").read_text())
    model = hparams["embedding_model"].eval()
    model.load_state_dict(torch.load(folder / "embedding_model.ckpt"))
    feats = hparams["compute_features"](read_audio(speech, 16000)[None])
    torch.testing.assert_close(torch.from_numpy(found.feats), feats[0])
    frames = model.encoder(feats - feats.mean(dim=1, keepdim=True))[0]
    frames = torch.cat(frames, dim=2)
    if head == "EmbeddingHead":
        frames = model.embedding_head.norm(frames)
    weights = model.embedding_head.pooling.attention_weights(frames)
    np.testing.assert_allclose(
        found.weights, weights[0].detach().numpy(), atol=1e-5
    )
    assert found.weights.std() > 0.1 * found.weights.mean()  # not uniform
    np.testing.assert_allclose(found.weights.sum(axis=0), 1.0, rtol=1e-5)


def test_frames_are_as_long_as_the_encoder_makes_them(tmp_path, speech):
    """What the last stride leaves over belongs to no frame."""
    folder = make_model(tmp_path / "model")
    found = map_attention(*load_attentive_model(folder, "cpu"), speech)
    assert len(found.frame_edges) == len(found.weights) + 1
    assert found.frame_edges[0] == 0
    seconds = soundfile.info(speech).duration
    assert 0 <= seconds - found.frame_edges[-1] < 0.04 + 0.011
    assert np.diff(found.frame_edges) == pytest.approx(0.04)
    assert len(found.band_centres) == found.feats.shape[1] == 24


def test_attention_and_spectrogram_change_where_the_sound_does(tmp_path):
    """A click in hiss: both tell its time."""
    folder = make_model(tmp_path / "model")
    rng = np.random.default_rng(0)
    samples = 1e-3 * rng.normal(size=32000)
    samples[24000:25600] += rng.uniform(-0.5, 0.5, 1600)
    soundfile.write(tmp_path / "click.wav", samples, 16000)
    model = load_attentive_model(folder, "cpu")
    found = map_attention(*model, tmp_path / "click.wav")
    centres = (found.frame_edges[1:] + found.frame_edges[:-1]) / 2
    hop = found.frame_edges[-1] / len(found.feats)
    loudest = found.feats.sum(axis=1).argmax() * hop
    changes = np.abs(found.weights - np.median(found.weights, axis=0))
    for seconds in (loudest, centres[changes.sum(axis=1).argmax()]):
        assert seconds == pytest.approx(1.55, abs=0.1)


def test_double_attention_tells_its_weights_over_time(tmp_path, speech):
    folder = make_model(
        tmp_path / "model",
        "DoubleMultiHeadAttentionPooling\n    num_heads: 4",
        "DenseHead",
    )
    found = map_attention(*load_attentive_model(folder, "cpu"), speech)
    assert found.weights.shape[1] == 4


def test_attentive_statistics_tell_the_weights_of_every_channel(
    tmp_path, speech
):
    folder = make_model(tmp_path / "model", "AttentiveStatisticsPooling")
    found = map_attention(*load_attentive_model(folder, "cpu"), speech)
    assert found.weights.shape[1] == 32
    np.testing.assert_allclose(found.weights.sum(axis=0), 1.0, rtol=1e-5)


def test_a_pooling_without_weights_of_frames_is_refused(tmp_path):
    folder = make_model(tmp_path / "model", "StatisticsPooling")
    wrong = rf"{folder}: 0 .*\(StatisticsPooling\)"
    with pytest.raises(ValueError, match=wrong):
        load_attentive_model(folder, "cpu")


def test_bad_files_are_named(tmp_path, write_wav):
    with pytest.raises(ValueError, match=r"none/hyperparams\.yaml is missing"):
        load_attentive_model(tmp_path / "none", "cpu")
    model = load_attentive_model(make_model(tmp_path / "model"), "cpu")
    show = partial(map_attention, *model)
    with pytest.raises(ValueError, match=r"none\.wav: cannot be read"):
        show(tmp_path / "none.wav")
    path, _ = write_wav("short.wav", seconds=0.02)
    with pytest.raises(ValueError, match=r"short\.wav: the shortest"):
        show(path)
