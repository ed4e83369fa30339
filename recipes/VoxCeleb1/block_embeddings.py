"""What each block of a trained encoder knows about the speaker."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from extraction import embed_batch, load_model
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.compat import StringIO
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor, nn

from custom_modules.checkpoints import load_strictly
from custom_modules.pooling import StatisticsPooling

HEADS_FILE, MODEL_FILE = "block_heads.ckpt", "embedding_model.ckpt"


class TrainedBlocks(NamedTuple):
    """A training's exported model and the heads on its blocks.

    Arguments
    ---------
    model : SpeakerRecognition
        The model.
    block_heads : nn.Module | None
        Of the same epoch; None where no loss trained them.
    training : dict
        The model folder's training.json.
    """

    model: SpeakerRecognition
    block_heads: nn.Module | None
    training: dict


class BlockEmbeddings(NamedTuple):
    """Embeddings of the same utterances: each a dict from utterance to vector.

    Arguments
    ---------
    final : dict[str, Tensor]
        (emb_dim,), of the whole model.
    statistics : dict[int, dict[str, Tensor]]
        (2 · block's channels,) of each block, counted from 1: mean and
        deviation over time of its output.
    heads : dict[int, dict[str, Tensor]]
        (emb_dim,) of each block with a trained head.
    """

    final: dict[str, Tensor]
    statistics: dict[int, dict[str, Tensor]]
    heads: dict[int, dict[str, Tensor]]


def load_trained_blocks(folder: str | Path, device: str) -> TrainedBlocks:
    """Load what a training left in its output folder.

    Arguments
    ---------
    folder : str | Path
        A training's `output_folder`, with model/, save/ and hyperparams.yaml.
    device : str
        "cpu" or "cuda:0".

    Returns
    -------
    trained : TrainedBlocks
        In evaluation mode.

    Raises
    ------
    ValueError
        Says which file is missing, or does not fit the exported model.
    """
    folder = Path(folder).absolute()
    path = folder / "hyperparams.yaml"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: give the output folder of a training, which "
            "holds it beside model/ and save/"
        )
    model, training = load_model(
        folder / "model", "hyperparams.yaml", {"device": device}
    )
    block_heads = _load_heads(folder, training["epoch"], device)
    return TrainedBlocks(model, block_heads, training)


def load_heads_beside(
    model_folder: str | Path, epoch: int | None, device: str
) -> tuple[nn.Module | None, str | None]:
    """Load the block heads of the training that a model folder lies in.

    Arguments
    ---------
    model_folder : str | Path
        With or without its training's hyperparams.yaml and save/ around it.
    epoch : int | None
        Of the model.
    device : str
        "cpu" or "cuda:0".

    Returns
    -------
    block_heads : nn.Module | None
        In evaluation mode; None where there are none to be had.
    reason : str | None
        Why there are none.

    Example
    -------
    >>> load_heads_beside("/nowhere/model", epoch=1, device="cpu")[1]
    'the model folder is not in the folder of its training'
    """
    folder = Path(model_folder).absolute().parent
    if not (folder / "hyperparams.yaml").is_file():
        return None, "the model folder is not in the folder of its training"
    try:
        block_heads = _load_heads(folder, epoch, device, Path(model_folder))
    except (ValueError, FileNotFoundError):  # another's, or it went on since
        return None, (
            "the training around the model folder has no checkpoint with the "
            "model's parameters"
        )
    if block_heads is None:
        return None, "no loss trained any"
    return block_heads, None


def _load_heads(
    folder: Path, epoch: int, device: str, model_folder: Path | None = None
) -> nn.Module | None:
    """Heads of a training, of the model's epoch; None where none trained."""
    path = folder / "hyperparams.yaml"
    try:
        hparams = YAML().load(path.read_text("utf-8"))
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not valid YAML: {reason}") from error
    if not hparams.get("mfcon_weight", 0) > 0:
        return None
    checkpoint = find_exported_checkpoint(folder, epoch, model_folder)
    # Of these two sections alone, and so that no folder of a training is made.
    text = StringIO()
    YAML().dump({key: hparams[key] for key in ("model", "block_heads")}, text)
    block_heads = load_hyperpyyaml(text.getvalue())["block_heads"]
    load_strictly(block_heads, str(checkpoint / HEADS_FILE))
    return block_heads.to(device).eval()


def find_exported_checkpoint(
    folder: Path, epoch: int | None, model_folder: Path | None = None
) -> Path:
    """Find the checkpoint that the model folder was exported from.

    Arguments
    ---------
    folder : Path
        A training's output folder.
    epoch : int | None
        Of the exported model.
    model_folder : Path | None
        Of the exported model; None for the training's `model`.

    Returns
    -------
    checkpoint : Path
        Its folder: of that epoch, with the very parameters exported.

    Raises
    ------
    ValueError
        Where there is none, as in a training that went on since.
    """
    model_folder = model_folder or folder / "model"
    exported = _load_state(model_folder / MODEL_FILE)
    for checkpoint in sorted((folder / "save").glob("CKPT*")):
        meta = yaml.safe_load((checkpoint / "CKPT.yaml").read_text("utf-8"))
        if meta.get("epoch") != epoch:
            continue
        state = _load_state(checkpoint / MODEL_FILE)
        if state.keys() == exported.keys() and all(
            torch.equal(state[key], exported[key]) for key in state
        ):
            return checkpoint
    raise ValueError(
        f"{folder / 'save'}: no checkpoint has the parameters of the model in "
        f"{folder / 'model'} (epoch {epoch}), so its block heads are lost: "
        "train anew, or give another training"
    )


def _load_state(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


@torch.no_grad()
def embed_blocks(
    loader: Iterable[PaddedBatch], trained: TrainedBlocks
) -> BlockEmbeddings:
    """Embed utterances by every block, in one forward pass.

    Arguments
    ---------
    loader : Iterable[PaddedBatch]
        Batches with id and sig (batch, samples).
    trained : TrainedBlocks
        Of `load_trained_blocks`.

    Returns
    -------
    embeddings : BlockEmbeddings
        On the CPU.
    """
    model, block_heads, _ = trained
    embeddings = BlockEmbeddings({}, {}, {})
    seen = []
    hook = model.mods["embedding_model"].encoder.register_forward_hook(
        lambda _, inputs, output: seen.append(output)
    )
    try:
        for batch in loader:
            embeddings.final.update(
                embed_batch(batch.to(model.device), model.mods)
            )
            block_outputs, lengths = seen.pop()
            for number, output in enumerate(block_outputs, start=1):
                vectors = StatisticsPooling(output.shape[2])(output, lengths)
                _collect(embeddings.statistics, number, batch.id, vectors)
            if block_heads is None:
                continue
            by_heads = block_heads(block_outputs, lengths)
            for block, vectors in zip(
                block_heads.blocks, by_heads, strict=True
            ):
                _collect(embeddings.heads, block + 1, batch.id, vectors)
    finally:
        hook.remove()
    return embeddings


def _collect(
    blocks: dict[int, dict[str, Tensor]],
    number: int,
    utt_ids: list[str],
    vectors: Tensor,
) -> None:
    rows = zip(utt_ids, vectors.float().cpu(), strict=True)
    blocks.setdefault(number, {}).update(rows)
