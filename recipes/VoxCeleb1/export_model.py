#!/usr/bin/env python3
"""Carry a model folder elsewhere: as an ONNX graph, to Hugging Face's hub.

usage: python export_model.py MODEL --onnx
       python export_model.py MODEL --int8 --data_folder=DATA [--trials=LIST]
       python export_model.py MODEL --report=VERIFICATION/report.json
       python export_model.py MODEL --push_to_hub=USER/NAME

The graph, MODEL/embedding_model.onnx, takes waveforms, features inside;
--int8 writes it with weights of 8 bits too, and its EER on the trials.
--report puts a test by verify.py into the model card, MODEL/README.md.
"""

import logging
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from command import Parser, run
from export import DERIVED, INT8_FILE, ONNX_FILE, SCOPES
from extraction import load_model
from huggingface_hub import HfApi
from model_results import CARD, attach_report, read_object
from report import write_json
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor, nn
from torch.export import Dim
from whole_files import replacing

# What training writes.
FILES = (
    "hyperparams.yaml",
    "embedding_model.ckpt",
    "embedding_model.safetensors",
    "training.json",
    CARD,
)
# May hold paths.
PRIVATE = ("overrides", "averaging", "hparams_file", "machine")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of --onnx and --int8
CHECKED_SECONDS = (2, 5, 20)
TOLERANCE = 1e-4  # of embeddings of length 1


class WaveformEmbedder(nn.Module):
    """Features, normalisation and embedding model as one.

    Arguments
    ---------
    modules : nn.ModuleDict | dict[str, nn.Module]
        compute_features, mean_var_norm and embedding_model, as in SpeechBrain's
        inference.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from custom_modules.baseline import FeatureEncoder, Unnormalised
    >>> from custom_modules.heads import SpeakerEmbedder
    >>> from custom_modules.pooling import StatisticsPooling
    >>> modules = {
    ...     "compute_features": Fbank(n_mels=8),
    ...     "mean_var_norm": Unnormalised(),
    ...     "embedding_model": SpeakerEmbedder(
    ...         FeatureEncoder(8), StatisticsPooling(8)
    ...     ),
    ... }
    >>> WaveformEmbedder(modules)(torch.rand(2, 8000)).shape
    torch.Size([2, 16])
    """

    def __init__(self, modules: nn.ModuleDict | dict[str, nn.Module]):
        super().__init__()
        self.compute_features = modules["compute_features"]
        self.mean_var_norm = modules["mean_var_norm"]
        self.embedding_model = modules["embedding_model"]

    def forward(self, wavs: Tensor) -> Tensor:
        """(batch, samples), all of full length → (batch, emb_dim)."""
        feats = self.mean_var_norm(self.compute_features(wavs), None)
        return self.embedding_model(feats, None).squeeze(1)


@torch.no_grad()
def write_onnx(model: SpeakerRecognition, path: Path) -> float:
    """Write a model as an ONNX graph, of any batch and length.

    Input `wavs` (batch, samples), at the model's rate and all of full length;
    output `embeddings` (batch, emb_dim). Compared with PyTorch in onnxruntime,
    on noise of 2, 5 and 20 s, before the file gets its name.

    Arguments
    ---------
    model : SpeakerRecognition
        Of `load_model`, on the CPU.
    path : Path
        In an existing folder.

    Returns
    -------
    difference : float
        The largest, of embeddings of length 1.

    Raises
    ------
    ValueError
        Where it is larger than 1e-4; no file is written.
    """
    import onnxruntime  # of an extra, which the other options do not need

    embedder = WaveformEmbedder(model.mods).eval()
    sample_rate = model.hparams.sample_rate
    generator = torch.Generator().manual_seed(0)
    program = torch.onnx.export(
        embedder,
        (torch.randn(2, 2 * sample_rate, generator=generator),),
        input_names=["wavs"],
        output_names=["embeddings"],
        dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    with replacing(path) as partial:
        program.save(partial)
        forget_sources(partial)
        session = onnxruntime.InferenceSession(
            partial, providers=["CPUExecutionProvider"]
        )
        difference = 0.0
        for batch_size, seconds in enumerate(CHECKED_SECONDS, start=1):
            shape = batch_size, seconds * sample_rate + 1
            wavs = 0.1 * torch.randn(shape, generator=generator)
            (embeddings,) = session.run(None, {"wavs": wavs.numpy()})
            one, other = (
                nn.functional.normalize(x, dim=1)
                for x in (embedder(wavs), torch.from_numpy(embeddings))
            )
            difference = max(difference, float((one - other).abs().max()))
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{path}: the graph's embeddings differ from PyTorch's by "
                f"{difference:.1e}, more than {TOLERANCE}: not written"
            )
    return difference


def forget_sources(path: Path) -> None:
    """Take out of a graph what torch notes of the code: paths of this machine.

    The names of the modules stay.

    Arguments
    ---------
    path : Path
        Of the graph; written anew.
    """
    import onnx  # of an extra, which the other options do not need

    graph = onnx.load(path)
    nodes = [graph.graph.node, *(x.node for x in graph.functions)]
    for part in (graph, graph.graph, *graph.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    for node in (node for part in nodes for node in part):
        node.doc_string = ""
        kept = [entry for entry in node.metadata_props if entry.key == SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(graph, path)


def push_to_hub(folder: Path, repo_id: str) -> None:
    """Upload a model folder to a repository of Hugging Face's hub.

    A new one is private, and a public one is refused. What the JSON files say
    of the machine stays here.

    Arguments
    ---------
    folder : Path
        What training wrote to its `model_folder`.
    repo_id : str
        USER/NAME, of the user who is logged in (`hf auth login`).

    Raises
    ------
    ValueError
        Where the repository is there and public.
    """
    with tempfile.TemporaryDirectory() as copy:
        present = [name for name in DERIVED if (folder / name).is_file()]
        for name in (*FILES, *present):
            if not name.endswith(".json"):
                shutil.copy(folder / name, copy)
                continue
            content = read_object(folder / name).items()
            public = {k: v for k, v in content if k not in PRIVATE}
            write_json(Path(copy) / name, public)
        api = HfApi()
        api.create_repo(repo_id, private=True, exist_ok=True)
        if not api.repo_info(repo_id).private:
            raise ValueError(
                f"{repo_id} is public, and the folder names the speakers that "
                "were trained on: give another name, or make it private first"
            )
        api.upload_folder(repo_id=repo_id, folder_path=copy)


def check_files(folder: Path) -> None:
    """Refuse a model folder that lacks something, before anything is written.

    Raises
    ------
    ValueError
        Names the file.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise ValueError(
                f"{(folder / name).absolute()} is missing: give the model "
                "folder that training wrote, or train and export anew"
            )


def main(argv: list[str]) -> None:
    """Export as the command line says: card, graphs, then the upload."""
    parser = Parser(
        prog="export_model.py",
        description="Write a model folder as ONNX, with weights of 8 bits too, "
        "put a test into its model card, or upload it.",
        epilog="Example: python export_model.py runs/mfcon/1986/model --onnx",
    )
    parser.add_argument("model", type=Path, help="folder that training wrote")
    parser.add_argument(
        "--onnx", action="store_true", help=f"write {ONNX_FILE} into it"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help=f"write {INT8_FILE} too, and its EER on trials",
    )
    parser.add_argument(
        "--data_folder", type=Path, help="of the trials, for --int8"
    )
    parser.add_argument(
        "--trials",
        help="list for --int8, as in verify.yaml; none: the data folder's",
    )
    parser.add_argument(
        "--report", type=Path, help="report.json of verify.py, for the card"
    )
    parser.add_argument(
        "--push_to_hub", metavar="USER/NAME", help="a private repository"
    )
    args = parser.parse_args(argv)
    if not (args.onnx or args.int8 or args.report or args.push_to_hub):
        raise ValueError(
            "give --onnx, --int8, --report=FILE or --push_to_hub=USER/NAME, "
            "or several"
        )
    is_for_trials = args.data_folder is not None
    if args.int8 != is_for_trials or (args.trials and not args.int8):
        raise ValueError(
            "--int8 needs trials to tell its EER: give it with "
            "--data_folder=FOLDER, and --trials=LIST where the folder has "
            "none; without --int8 neither is used"
        )
    if args.onnx or args.int8:
        for name in PACKAGES:
            if find_spec(name) is None:
                raise ValueError(
                    f"--onnx and --int8 need the package {name}: pip install "
                    + " ".join(PACKAGES)
                )
    check_files(args.model)
    model, training = load_model(
        args.model, "hyperparams.yaml", {"device": "cpu"}
    )
    if args.report:
        attach_report(args.model, args.report)
        sys.stdout.write(f"{args.report}: in {args.model / CARD}\n")
    if args.int8:
        import int8  # needs these packages

        test = int8.find_test(
            args.model, training, args.data_folder, args.trials
        )
    if args.onnx or args.int8:
        for name in ("onnx_ir", "onnxscript"):  # one line for each constant
            logging.getLogger(name).setLevel(logging.WARNING)
        path = args.model.absolute() / ONNX_FILE
        difference = write_onnx(model, path)
        sys.stdout.write(
            f"{path}; embeddings within {difference:.1e} of PyTorch's\n"
        )
    if args.int8:
        result = int8.write_int8(args.model, model, test)
        sys.stdout.write(int8.tell_int8(result) + "\n")
    if args.push_to_hub:
        push_to_hub(args.model, args.push_to_hub)
        sys.stdout.write(f"uploaded to {args.push_to_hub}\n")


if __name__ == "__main__":
    run(main)
