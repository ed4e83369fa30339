"""Every YAML file loads, every key is used, none collides with an option."""

import re
from pathlib import Path

import average_checkpoints
import ivector_plda
import pytest
import torch
import train_speaker_embeddings
import verify
import yaml
from command import TaglessLoader
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.run_opts import RunOptions

from custom_modules.losses import MFConLoss, Predictions
from custom_modules.pooling import (
    AttentiveStatisticsPooling,
    DoubleMultiHeadAttentionPooling,
    SelfMultiHeadAttentionPooling,
    StatisticsPooling,
    TemporalAveragePooling,
)

ROOT = Path(__file__).parents[1]
HPARAMS = ROOT / "hparams"
FILES = sorted(HPARAMS.rglob("*.yaml"))
COMMANDS = {
    "average.yaml": average_checkpoints.KEYS,
    "mfcon.yaml": train_speaker_embeddings.KEYS,
    "mha.yaml": train_speaker_embeddings.KEYS,
    "ivector.yaml": ivector_plda.KEYS,
    "verify.yaml": verify.KEYS,
}
# Read by name in SpeechBrain: the Brain's options, its inference interface.
SPEECHBRAINS = {
    "compile_module_keys",
    "max_grad_norm",
    "ckpt_interval_minutes",
    "modules",
    "pretrainer",
    "audio_normalizer",
    "__set_seed",
}
# Read from a model folder by our commands and by its users.
INFERENCE = {"sample_rate", "threshold", "threshold_p01"}


def keys_of(path):
    return list(yaml.load(path.read_text(), Loader=TaglessLoader))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_used(path):
    text = path.read_text()
    known = SPEECHBRAINS | set(COMMANDS.get(path.name, INFERENCE))
    code = re.sub(r"#.*", "", text)
    # Alternatives are named for the command line, beside the key they fill.
    comments = "\n".join(re.findall(r"#.*", text))
    referenced = set(re.findall(r"<(\w+)", code))
    offered = set(re.findall(r"!ref <(?:poolings\[)?(\w+)\]?>", comments))
    assert set(keys_of(path)) - known - referenced - offered == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_key_is_swallowed_by_an_option_of_speechbrain(path):
    """argparse takes any unique prefix of an option for the option."""
    options = RunOptions().as_dict()
    wrong = {
        (key, option)
        for key in keys_of(path)
        for option in options
        if option.startswith(key) and key not in SPEECHBRAINS
    }
    assert wrong == set()


def load(overrides=""):
    with open(HPARAMS / "mfcon.yaml", encoding="utf-8") as file:
        return load_hyperpyyaml(
            file,
            f"d_model: 16\nd_ffn: 32\nnum_blocks: 2\n"
            f"output_folder: {load.folder}\n{overrides}",
        )


@pytest.fixture(autouse=True)
def _own_folder(tmp_path):
    load.folder = tmp_path  # the checkpointer makes it


def test_the_defaults_are_the_published_setup():
    text = (HPARAMS / "mfcon.yaml").read_text()
    published = {
        "batch_size": 100,
        "sentence_len": 3.0,
        "num_epochs": 30,
        "lr": 1e-3,
        "warmup_steps": 2000,
        "halving_epochs": 5,
        "weight_decay": 1e-7,
        "margin": 0.2,
        "scale": 30.0,
        "temperature": 0.07,
        "mfcon_weight": 0.03,
        "supcon_weight": 0.03,
        "n_mels": 80,
        "d_model": 256,
        "num_blocks": 6,
        "num_heads": 4,
        "d_ffn": 2048,
        "kernel_size": 15,
        "emb_dim": 192,
        "snr_low": 15,
        "snr_high": 25,
    }
    values = yaml.load(text, Loader=TaglessLoader)
    assert {key: values[key] for key in published} == published


def test_the_defaults_of_the_cnn_are_the_paper_s():
    values = yaml.load((HPARAMS / "mha.yaml").read_text(), Loader=TaglessLoader)
    published = {
        "n_mels": 128,
        "channels": [128, 256, 512],
        "emb_dim": 400,
        "noise_folder": None,
        "rir_folder": None,
        "classification_loss": "!ref <softmax_loss>",
        "pooling": "!ref <poolings[multi_head]>",
    }
    assert {key: values[key] for key in published} == published


POOLINGS = {
    "temporal": TemporalAveragePooling,
    "statistics": StatisticsPooling,
    "attentive_statistics": AttentiveStatisticsPooling,
    "attention": SelfMultiHeadAttentionPooling,
    "multi_head": SelfMultiHeadAttentionPooling,
    "double_multi_head": DoubleMultiHeadAttentionPooling,
}


@pytest.mark.parametrize("name", POOLINGS)
def test_one_override_exchanges_the_pooling_of_every_head(name):
    overrides = f"pooling: !ref <poolings[{name}]>\nnum_pooling_heads: 8\n"
    hparams = load(overrides)
    heads = [hparams["model"]["embedding_head"], *hparams["block_heads"].heads]
    assert len(heads) == 3
    for head in heads:
        assert type(head.pooling) is POOLINGS[name]
    with open(HPARAMS / "mha.yaml", encoding="utf-8") as file:
        hparams = load_hyperpyyaml(
            file,
            f"channels: [4, 4, 8]\noutput_folder: {load.folder}\n{overrides}",
        )
    pooling = hparams["model"]["embedding_head"].pooling
    assert type(pooling) is POOLINGS[name]
    if "head" in name:
        queries = getattr(pooling, "utterance_attention", pooling).queries
        assert queries.shape == (8, 8 * 128 // 8 // 8)
    if name == "attention":
        assert pooling.queries.shape == (1, 8 * 128 // 8)


def test_every_pooling_is_offered_and_no_other():
    hparams = load()
    names = {k for k, v in hparams["poolings"].items() if callable(v)}
    assert names == set(POOLINGS)
    text = (HPARAMS / "models/poolings.yaml").read_text()
    assert set(re.findall(r"!ref <poolings\[(\w+)\]>", text)) == names


@pytest.mark.parametrize(
    "name", ["supcon_loss", "triplet_loss", "npairs_loss", "ntxent_loss"]
)
def test_the_contrastive_loss_is_exchanged_in_both_terms(name):
    hparams = load(f"contrastive: !ref <{name}>\n")
    mfcon = hparams["objective"].terms["mfcon"]
    supcon = hparams["objective"].terms["supcon"]
    assert isinstance(mfcon, MFConLoss)
    assert mfcon.contrastive is supcon.contrastive is hparams[name]


def test_sharing_reaches_the_block_heads():
    heads = load("share_pooling: True\nshare_projection: True\n")["block_heads"]
    first, second = heads.heads
    assert first.pooling is second.pooling
    assert first.projection is second.projection


def test_inference_and_training_share_their_parameters():
    hparams = load()
    model = hparams["model"]["embedding_model"]
    assert model.encoder is hparams["modules"]["encoder"]
    assert model.embedding_head is hparams["modules"]["embedding_head"]


def test_the_whole_objective_reaches_every_parameter():
    torch.manual_seed(0)
    hparams = load("dropout: 0.0\n")
    modules = hparams["modules"]
    modules["classifier"] = hparams["classifier"](out_neurons=4)
    block_outputs, _ = modules["encoder"](torch.randn(8, 60, 80))
    embeddings = modules["embedding_head"](torch.cat(block_outputs, dim=-1))
    predictions = Predictions(
        modules["classifier"](embeddings).squeeze(1),
        embeddings,
        modules["block_heads"](block_outputs),
    )
    labels = torch.arange(4).repeat(2)
    sum(hparams["objective"](predictions, labels).values()).backward()
    for name in ("encoder", "embedding_head", "block_heads", "classifier"):
        for key, parameter in modules[name].named_parameters():
            if key.endswith("conv.conv.bias") and "tdnn" not in key:
                continue  # a softmax over time cannot see a constant
            assert parameter.grad.abs().max() > 0, f"{name}.{key}"
