"""Parameters of a finished training, for another one to start from."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from block_embeddings import HEADS_FILE, MODEL_FILE, find_exported_checkpoint
from report import write_json
from torch import Tensor, nn
from yaml import YAMLError

logger = logging.getLogger(__name__)

RECORD = "init_from.json"
CLASSIFIER_FILE = "classifier.ckpt"
PARTS = ("embedding_model", "block_heads", "classifier")
# What reading a damaged checkpoint may raise.
DAMAGES = (ValueError, RuntimeError, EOFError, OSError, AttributeError)
DAMAGES += (UnpicklingError, YAMLError)
TOLD = ("data", "seed", "epoch", "commit")  # of the training.json there


class Source(NamedTuple):
    """What another training left.

    Arguments
    ---------
    origin : dict
        data (name of the corpus), seed, epoch and commit; no path.
    trained_on : list[str]
        All speakers of it.
    classes : list[str]
        Speakers of its classifier, in order.
    parameters : dict[str, dict[str, Tensor]]
        Of embedding_model and, where they are there, block_heads and
        classifier.
    """

    origin: dict
    trained_on: list[str]
    classes: list[str]
    parameters: dict[str, dict[str, Tensor]]


def read_source(folder: str | Path) -> Source:
    """Read parameters; no code of the folder is run.

    Arguments
    ---------
    folder : str | Path
        An output folder of a training, with model/ and the checkpoint that it
        was exported from; or a model folder, for the embedding model alone.

    Returns
    -------
    source : Source
        On the CPU.

    Raises
    ------
    ValueError
        Says which file is missing or damaged.
    """
    folder = Path(folder).absolute()
    is_output = (folder / "model" / "training.json").is_file()
    model = folder / "model" if is_output else folder
    path = model / "training.json"
    if not path.is_file():
        raise ValueError(
            f"init_from: neither {path} nor model/training.json in that "
            "folder is there: give the output folder of a training that has "
            "ended, such as runs/mfcon/1986, or its model folder"
        )
    try:
        training = json.loads(path.read_text("utf-8"))
        trained_on = [str(speaker) for speaker in training["speakers"]]
        classes = training.get("classifier_speakers", trained_on)
        origin = {key: training[key] for key in TOLD}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or not of a training "
            f"({type(error).__name__}: {error}): export anew"
        ) from error
    files = {"embedding_model": model / MODEL_FILE}
    if is_output and list((folder / "save").glob("CKPT*")):
        checkpoint = _find_checkpoint(folder, origin["epoch"])
        files["block_heads"] = checkpoint / HEADS_FILE
        files["classifier"] = checkpoint / CLASSIFIER_FILE
    return Source(
        origin,
        trained_on,
        classes,
        {
            name: _load(file)
            for name, file in files.items()
            if name == "embedding_model" or file.is_file()
        },
    )


def _find_checkpoint(folder: Path, epoch: int) -> Path:
    try:
        return find_exported_checkpoint(folder, epoch)
    except DAMAGES as error:
        raise ValueError(
            f"{folder / 'save'}: no whole checkpoint is the one that model/ "
            f"was exported from, with classifier and block heads: give "
            f"{folder / 'model'} to start from the embedding model alone"
        ) from error


def _load(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        is_finite = all(bool(x.isfinite().all()) for x in state.values())
    except Exception as error:  # whatever a damaged file may raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: no parameters can be read ({reason}): copy it anew"
        ) from error
    if not is_finite:
        raise ValueError(f"{path}: parameters are not finite: train anew")
    return state


def first_difference(state: dict[str, Tensor], module: nn.Module) -> str:
    """The first parameter whose name or shape is another one; "" if none is.

    Example
    -------
    >>> state = nn.Linear(2, 3).state_dict()
    >>> first_difference(state, nn.Linear(2, 3))
    ''
    >>> first_difference(state, nn.Linear(2, 4))
    'weight is (3, 2) there and (4, 2) here'
    >>> first_difference(state, nn.Linear(2, 3, bias=False))
    'bias is (3,) there and not here'
    """
    there = {key: tuple(value.shape) for key, value in state.items()}
    here = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    for key in [*here, *there]:
        if there.get(key) != here.get(key):
            shapes = (shapes.get(key, "not") for shapes in (there, here))
            return "{} is {} there and {} here".format(key, *shapes)
    return ""


def refuse_development_speakers(
    source: Source, dev_speakers: Iterable[str], is_other_corpus: bool
) -> None:
    """Development speakers must be new to the parameters.

    Arguments
    ---------
    source : Source
        Of `read_source`.
    dev_speakers : Iterable[str]
        Of the training that starts.
    is_other_corpus : bool
        Whether speakers named alike are other people.

    Raises
    ------
    ValueError
        Names five that were trained on.

    Example
    -------
    >>> source = Source({"data": "VoxCeleb1"}, ["a", "b"], ["a", "b"], {})
    >>> refuse_development_speakers(source, ["c"], is_other_corpus=False)
    >>> refuse_development_speakers(source, ["b"], is_other_corpus=True)
    >>> refuse_development_speakers(source, ["b", "c"], is_other_corpus=False)
    Traceback (most recent call last):
    ValueError: 1 of the 2 development speakers were trained on in init_from ...
    """
    dev_speakers = set(dev_speakers)
    both = sorted(dev_speakers & set(source.trained_on))
    if is_other_corpus or not both:
        return
    names = ", ".join(both[:5]) + (", …" if len(both) > 5 else "")
    raise ValueError(
        f"{len(both)} of the {len(dev_speakers)} development speakers were "
        f"trained on in init_from ({names}), so the development EER would be "
        "too low: give the seed and num_dev_speakers of that training, which "
        "holds out the same ones, --num_dev_speakers=0, or, of another corpus "
        "with speakers of the same names, --init_from_other_corpus=True"
    )


def start_from(
    source: Source,
    modules: dict[str, nn.Module],
    speakers: list[str],
    is_other_corpus: bool,
) -> None:
    """Load what fits; the embedding model must.

    Arguments
    ---------
    source : Source
        Of `read_source`.
    modules : dict[str, nn.Module]
        embedding_model, classifier and, where there are any, block_heads;
        what else there is, as in a checkpointer's recoverables, is left alone.
    speakers : list[str]
        Of the classifier, in order.
    is_other_corpus : bool
        Whether speakers named alike are other people.

    Raises
    ------
    ValueError
        Where the embedding model is of another architecture.
    """
    for name in PARTS:
        if name not in modules:
            continue
        module, state = modules[name], source.parameters.get(name)
        reason = "none there" if state is None else ""
        if state is not None and name == "classifier":
            if is_other_corpus:
                reason = "speakers of another corpus there"
            elif source.classes != speakers:
                reason = f"{len(source.classes)} speakers there, "
                reason += f"{len(speakers)} here"
                if len(source.classes) == len(speakers):
                    reason += ", other ones"
        reason = reason or first_difference(state, module)
        if not reason:
            module.load_state_dict(state)
            logger.info(f"init_from: {name} taken over")
        elif name == "embedding_model":
            raise ValueError(
                f"init_from is of another architecture: {reason}. Give the "
                "settings of the model that it was trained with"
            )
        else:
            logger.info(f"init_from: {name} replaced: {reason}")


def write_record(
    source: Source | None, save_folder: str | Path, is_other_corpus: bool
) -> None:
    """Remember, for the end, what a training started from; None: nothing.

    Speakers of another corpus are named by it too: they are no one's of ours.
    """
    path = Path(save_folder) / RECORD
    if source is None:
        path.unlink(missing_ok=True)
        return
    speakers = source.trained_on
    if is_other_corpus:
        speakers = [f"{source.origin['data']}:{name}" for name in speakers]
    write_json(path, {**source.origin, "speakers": speakers})


def describe_start(save_folder: str | Path, speakers: list[str]) -> dict:
    """What training.json says of the speakers, and of an earlier training.

    Arguments
    ---------
    save_folder : str | Path
        Where `write_record` wrote.
    speakers : list[str]
        Of the classifier, in order.

    Returns
    -------
    entries : dict
        speakers, of both trainings, so that no one of them is tested on; of a
        fine-tuned model init_from and classifier_speakers too.
    """
    path = Path(save_folder) / RECORD
    if not path.is_file():
        return {"speakers": speakers}
    origin = json.loads(path.read_text("utf-8"))
    earlier = origin.pop("speakers")
    return {
        "speakers": sorted({*speakers, *earlier}),
        "classifier_speakers": speakers,
        "init_from": origin,
    }
