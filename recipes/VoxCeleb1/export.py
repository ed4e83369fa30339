"""Write a trained model as the folder that SpeechBrain's inference loads."""

from pathlib import Path

import torch
from hyperpyyaml import resolve_references
from model_card import describe_model
from report import write_json
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from safetensors.torch import save
from torch import nn
from whole_files import replacing

# Of the development trials: at the EER, at minDCF(0.01).
THRESHOLDS = ("threshold", "threshold_p01")

ONNX_FILE = "embedding_model.onnx"
INT8_FILE = "embedding_model.int8.onnx"
INT8_RESULT_FILE = "embedding_model.int8.json"
TESTS_FILE = "tests.json"
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes modules
# What export_model.py makes of a model folder.
DERIVED = (ONNX_FILE, INT8_FILE, INT8_RESULT_FILE, TESTS_FILE)


def resolve_model(hparams_file: str | Path, overrides: str) -> CommentedMap:
    """Read the section `model` of a training's YAML file, overridden.

    At the start of the training: the file may be edited while it runs.

    Arguments
    ---------
    hparams_file : str | Path
        The training's YAML file.
    overrides : str
        Its overrides.

    Returns
    -------
    model : CommentedMap
        All that inference needs, without references out of it.
    """
    with open(hparams_file, encoding="utf-8") as file:
        return YAML().load(resolve_references(file, overrides))["model"]


def folder_name(folder: str | Path | None) -> str | None:
    """The last part of a folder's path, its links followed: no more of it.

    Example
    -------
    >>> folder_name("data/VoxCeleb1"), folder_name(None)
    ('VoxCeleb1', None)
    """
    return Path(folder).resolve().name if folder else None


def export_model(
    model: CommentedMap,
    embedding_model: nn.Module,
    training: dict,
    folder: str | Path,
) -> None:
    """Write all that a model folder holds; training.json comes last.

    Graphs and tests of an earlier model in it go first: they are not this
    one's.

    hyperparams.yaml and embedding_model.ckpt are what SpeechBrain loads;
    embedding_model.safetensors has the same parameters, README.md is the
    model card.

    Arguments
    ---------
    model : CommentedMap
        Of `resolve_model`.
    embedding_model : nn.Module
        With the trained parameters.
    training : dict
        Of the training: what `describe_model` tells of it, and what else is
        worth knowing. Its threshold and threshold_p01 go into
        hyperparams.yaml too: cosines above which two utterances are of the
        same speaker, None without development trials to choose them on.
    folder : str | Path
        Made if missing; files of the same name are replaced.
    """
    for key in THRESHOLDS:
        model[key] = training[key]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)
    state = embedding_model.state_dict()
    with replacing(folder / "embedding_model.ckpt") as partial:
        torch.save(state, partial)
    with replacing(folder / "embedding_model.safetensors") as partial:
        # It takes no tensors that share memory or have gaps in it.
        copies = {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in state.items()
        }
        partial.write_bytes(save(copies))
    with replacing(folder / "hyperparams.yaml") as partial:
        YAML().dump(model, partial)
    card = describe_model(embedding_model, model["sample_rate"], training)
    with replacing(folder / "README.md") as partial:
        partial.write_text(card, "utf-8")
    write_json(folder / "training.json", training)
