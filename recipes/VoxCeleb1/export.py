"""Write a trained model as the folder that SpeechBrain's inference loads."""

from pathlib import Path

import torch
from hyperpyyaml import resolve_references
from report import write_json
from ruamel.yaml import YAML
from torch import nn
from whole_files import replacing


def export_model(
    hparams_file: str | Path,
    overrides: str,
    embedding_model: nn.Module,
    threshold: float,
    training: dict,
    folder: str | Path,
) -> None:
    """Write hyperparams.yaml, embedding_model.ckpt and training.json.

    The YAML is the resolved section `model` of the training's, so the folder
    needs neither the training's YAML file nor its overrides.

    Arguments
    ---------
    hparams_file : str | Path
        The training's YAML file.
    overrides : str
        Its overrides.
    embedding_model : nn.Module
        With the trained parameters.
    threshold : float
        Cosine above which two utterances are of the same speaker.
    training : dict
        Of the training: its "speakers", and what else is worth knowing.
    folder : str | Path
        Made if missing; files of the same name are replaced.
    """
    with open(hparams_file, encoding="utf-8") as file:
        resolved = YAML().load(resolve_references(file, overrides))
    model = resolved["model"]
    model["threshold"] = threshold
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "embedding_model.ckpt") as partial:
        torch.save(embedding_model.state_dict(), partial)
    with replacing(folder / "hyperparams.yaml") as partial:
        YAML().dump(model, partial)
    write_json(folder / "training.json", training)
