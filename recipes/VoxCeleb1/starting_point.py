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

logger = logging.getLogger(__name__)

RECORD = "init_from.json"
CLASSIFIER_FILE = "classifier.ckpt"
PARTS = ("embedding_model", "block_heads", "classifier")
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
    except (ValueError, RuntimeError, EOFError, UnpicklingError) as error:
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


def _is_same_corpus(one: str, other: str) -> bool:
    """As far as the names of folders tell; one may be packed."""
    return one.removesuffix(".packed") == other.removesuffix(".packed")


def refuse_development_speakers(
    source: Source, dev_speakers: Iterable[str], data: str
) -> None:
    """Development speakers must be new to the parameters.

    Names say who is who within a corpus: of another one, speakers that are
    named alike are warned of.

    Arguments
    ---------
    source : Source
        Of `read_source`.
    dev_speakers : Iterable[str]
        Of the training that starts.
    data : str
        Name of its corpus.

    Raises
    ------
    ValueError
        Names five that were trained on.

    Example
    -------
    >>> source = Source({"data": "VoxCeleb1"}, ["a", "b"], ["a", "b"], {})
    >>> refuse_development_speakers(source, ["c"], "VoxCeleb1")
    >>> refuse_development_speakers(source, ["b", "c"], "VoxCeleb1")
    Traceback (most recent call last):
    ValueError: 1 of the 2 development speakers were trained on in init_from ...
    """
    dev_speakers = set(dev_speakers)
    both = sorted(dev_speakers & set(source.trained_on))
    if not both:
        return
    names = ", ".join(both[:5]) + (", …" if len(both) > 5 else "")
    there = source.origin["data"]
    if not _is_same_corpus(there, data):
        logger.warning(
            f"init_from was trained on {there}, which has {len(both)} "
            f"speakers named as development speakers of {data} ({names}): "
            "taken for other people"
        )
        return
    raise ValueError(
        f"{len(both)} of the {len(dev_speakers)} development speakers were "
        f"trained on in init_from ({names}), so the development EER would be "
        "too low: give the seed and num_dev_speakers of that training, which "
        "holds out the same ones, or --num_dev_speakers=0"
    )


def start_from(
    source: Source,
    modules: dict[str, nn.Module],
    speakers: list[str],
    data: str,
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
    data : str
        Name of the corpus.

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
            if not _is_same_corpus(source.origin["data"], data):
                reason = f"speakers of {source.origin['data']} there, of {data}"
                reason += " here"
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


def write_record(source: Source | None, save_folder: str | Path) -> None:
    """Remember, for the end, what a training started from; None: nothing."""
    path = Path(save_folder) / RECORD
    if source is None:
        path.unlink(missing_ok=True)
        return
    write_json(path, {**source.origin, "speakers": source.trained_on})


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
