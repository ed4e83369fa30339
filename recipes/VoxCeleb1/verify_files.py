#!/usr/bin/env python3
"""Compare audio files by a trained model: same speaker or not.

usage: python verify_files.py MODEL FILE FILE…
       python verify_files.py MODEL FOLDER FOLDER [--output=MATRIX.csv]

The first file is compared with each of the others, every file of the first
folder with every one of the second. A file that cannot be used is named with
the reason; the others go on, and the exit status is 2 in the end.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from audio_files import find_audio, inspect_audio
from command import Parser, run
from extraction import embed_batch, load_model
from faults import explaining_memory
from progress import show_progress
from score_matrix import score_files, write_matrix
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor
from whole_files import replacing

from custom_modules.audio import read_audio

# By the name of an option, the key of a model folder's YAML file.
OPERATING_POINTS = {"eer": "threshold", "p01": "threshold_p01"}

# What libsndfile reads and people have.
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".au")


class EmbeddedFiles(NamedTuple):
    """Each file either has an embedding (emb_dim,) or a reason why not."""

    embeddings: dict[str, Tensor]
    reasons: dict[str, str]


@torch.no_grad()
def embed_file(path: str, model: SpeakerRecognition) -> Tensor:
    """Embed an audio file as `verify.py` does.

    Arguments
    ---------
    path : str
        Any container, number of channels and rate, from the model's up.
    model : SpeakerRecognition
        Of `load_model`.

    Returns
    -------
    embedding : Tensor
        (emb_dim,), on the CPU.

    Raises
    ------
    ValueError
        Says why the file cannot be used: unreadable, truncated, silent, too
        short for the encoder, of too low a rate, too long for the memory.
    """
    sample_rate = model.hparams.sample_rate
    info = inspect_audio(path, sample_rate)
    seconds = info.num_samples / info.sample_rate
    wav = read_audio(path, sample_rate)
    batch = PaddedBatch([{"id": path, "sig": wav}]).to(model.device)
    with explaining_memory(f"{path}, {seconds:.2f} s, on {model.device}"):
        return embed_batch(batch, model.mods)[path]


def embed_files(
    paths: Iterable[str], model: SpeakerRecognition
) -> EmbeddedFiles:
    """Embed audio files, each once.

    Arguments
    ---------
    paths : Iterable[str]
        Of `embed_file`.
    model : SpeakerRecognition
        Of `load_model`.

    Returns
    -------
    files : EmbeddedFiles
        In the order of the paths.
    """
    files = EmbeddedFiles({}, {})
    for path in show_progress(list(dict.fromkeys(paths)), "Embeddings", "file"):
        try:
            files.embeddings[path] = embed_file(path, model)
        except ValueError as error:
            files.reasons[path] = " ".join(str(error).split())
    return files


def choose_threshold(
    model: SpeakerRecognition, operating_point: str
) -> float | None:
    """The model folder's threshold, of its development trials.

    Arguments
    ---------
    model : SpeakerRecognition
        Of `load_model`.
    operating_point : str
        "eer": where both errors are equally frequent; "p01": at the
        minDCF(0.01), where few trials are of one speaker.

    Returns
    -------
    threshold : float | None
        None where the folder has none: without development trials; "p01"
        where rejecting every trial cost least, and in older folders.
    """
    return vars(model.hparams).get(OPERATING_POINTS[operating_point])


def decide(score: float, threshold: float | None) -> str:
    """Say what a score means at a threshold.

    Arguments
    ---------
    score : float
        Cosine.
    threshold : float | None
        Of `choose_threshold`.

    Returns
    -------
    decision : str
        In words, with the threshold.

    Example
    -------
    >>> decide(0.5, threshold=0.25)
    'same speaker (threshold 0.250000)'
    >>> decide(0.5, threshold=None)
    'no decision (the model folder has no such threshold)'
    """
    if threshold is None:
        return "no decision (the model folder has no such threshold)"
    is_same = score > threshold
    kind = "same speaker" if is_same else "different speakers"
    return f"{kind} (threshold {threshold:.6f})"


def compare_files(
    paths: list[str], model: SpeakerRecognition, threshold: float | None
) -> EmbeddedFiles:
    """Show the first file's comparison with each of the others."""
    first, *others = paths
    files = embed_files(paths, model)
    scores = score_files([first], others, files.embeddings)[0]
    for other, score in zip(others, scores, strict=True):
        pair = dict.fromkeys((first, other))
        reasons = [files.reasons[x] for x in pair if x in files.reasons]
        result = f"no score ({'; '.join(reasons)})"
        if not reasons:
            decision = decide(score, threshold)
            result = f"{score:.6f}, {decision}"
        sys.stdout.write(f"{first} and {other}: {result}\n")
    return files


def compare_folders(
    folders: list[str],
    model: SpeakerRecognition,
    threshold: float | None,
    output: Path | None,
) -> EmbeddedFiles:
    """Write the matrix of two folders, to a file or to standard output."""
    rows, columns = (find_audio(folder, SUFFIXES) for folder in folders)
    for folder, found in zip(folders, (rows, columns), strict=True):
        if not found:
            raise ValueError(
                f"{Path(folder).absolute()}: no audio files (*{SUFFIXES[0]}, "
                f"*{', *'.join(SUFFIXES[1:])})"
            )
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
    files = embed_files([*rows, *columns], model)
    scores = score_files(rows, columns, files.embeddings)
    names = [
        [Path(path).relative_to(folder).as_posix() for path in found]
        for folder, found in zip(folders, (rows, columns), strict=True)
    ]
    for reason in files.reasons.values():
        sys.stderr.write(f"no scores: {reason}\n")
    if output is None:
        write_matrix(sys.stdout, *names, scores)
        return files
    with (
        replacing(output) as partial,
        open(partial, "w", encoding="utf-8", newline="") as file,
    ):
        write_matrix(file, *names, scores)
    sys.stdout.write(
        f"{len(rows)} x {len(columns)} scores: {output.absolute()}; threshold "
        f"of the model: {threshold}\n"
    )
    return files


def main(argv: list[str]) -> None:
    """Compare what the command line names."""
    parser = Parser(
        prog="verify_files.py",
        description="Compare the first audio file with each of the others, or "
        "every file of a folder with every one of another.",
        epilog="Example: python verify_files.py runs/mfcon/1986/model a.wav "
        "b.wav",
    )
    parser.add_argument("model", help="folder that training wrote")
    parser.add_argument("first", help="audio file or folder")
    parser.add_argument(
        "others", nargs="+", help="audio files, or one other folder"
    )
    parser.add_argument(
        "--output", type=Path, help="CSV file for the matrix of two folders"
    )
    parser.add_argument(
        "--operating_point",
        choices=OPERATING_POINTS,
        default="eer",
        help="which threshold of the development trials decides: at the EER, "
        "or at minDCF(0.01)",
    )
    parser.add_argument("--device", default="cpu", help="or cuda:0")
    args = parser.parse_args(argv)
    paths = [args.first, *args.others]
    are_folders = [Path(path).is_dir() for path in paths]
    if any(are_folders) and are_folders != [True, True]:
        raise ValueError("give audio files alone, or two folders")
    if args.output and (not any(are_folders) or args.output.is_dir()):
        raise ValueError(
            f"--output={args.output}: give the name of a CSV file, and two "
            "folders to compare"
        )
    run_opts = {"device": args.device}
    model, _ = load_model(args.model, "hyperparams.yaml", run_opts)
    threshold = choose_threshold(model, args.operating_point)
    if any(are_folders):
        files = compare_folders(paths, model, threshold, args.output)
    else:
        files = compare_files(paths, model, threshold)
    if files.reasons:
        num_files = len(files.reasons) + len(files.embeddings)
        raise ValueError(
            f"{len(files.reasons)} of {num_files} files cannot be used; the "
            "reasons are above"
        )


if __name__ == "__main__":
    run(main)
