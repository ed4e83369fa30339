"""A model's ONNX graph with weights of 8 bits, and what they cost in EER."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from evaluation import (
    make_loader,
    trial_origin,
    trial_speakers,
)
from export import INT8_FILE, INT8_RESULT_FILE, ONNX_FILE, SCOPES
from extraction import embed_utterances, score_trials
from model_results import DIGEST, digest_model, write_block
from onnxruntime.quantization import QuantType, quantize_dynamic
from progress import show_progress
from report import git_commit, write_json
from speechbrain.inference.speaker import SpeakerRecognition
from torch import Tensor
from trial_sets import TrialSet, read_trial_set
from voxceleb1_layout import find_trials, find_utterances
from whole_files import replacing
from whole_utterances import UtteranceDataset, choose_batch_seconds

from custom_modules.metrics import compare_systems, equal_error_rate
from custom_modules.scoring import speaker_id

# Convolutions stay as they are: onnxruntime's of dynamic int8 are slower.
OPERATORS = ("MatMul", "Gemm")


def quantise(graph: Path, path: Path) -> int:
    """Write an ONNX graph whose matrix products have weights of 8 bits.

    Those of the embedding model alone: the mel filters are a product too,
    but of powers that span more than 8 bits.

    Arguments
    ---------
    graph : Path
        Of `export_model.write_onnx`.
    path : Path
        Written to.

    Returns
    -------
    num_products : int
        How many were quantised.

    Raises
    ------
    ValueError
        Where the model has none.
    """
    model = onnx.load(graph)
    others = [
        node.name
        for node in model.graph.node
        if node.op_type in OPERATORS
        and not any(
            "'embedding_model'" in entry.value
            for entry in node.metadata_props
            if entry.key == SCOPES
        )
    ]
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # a line for each product, to root
    try:
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_exclude=others,
            # Signed weights overflow 16 bits on processors without VNNI.
            weight_type=QuantType.QUInt8,
        )
    finally:
        logging.disable(disabled)
    written = onnx.load(path).graph.node
    num_products = sum(node.op_type == "MatMulInteger" for node in written)
    if num_products == 0:
        raise ValueError(
            f"{graph}: int8 is for products with a matrix of weights "
            f"({', '.join(OPERATORS)}), and the embedding model has none"
        )
    return num_products


def embed_by_graph(
    utterances: dict[str, str], graph: Path, sample_rate: int
) -> dict[str, Tensor]:
    """Embed whole utterances by an ONNX graph, one at a time.

    Arguments
    ---------
    utterances : dict[str, str]
        File of each utterance.
    graph : Path
        Waveforms → embeddings.
    sample_rate : int
        Hz.

    Returns
    -------
    embeddings : dict[str, Tensor]
        (emb_dim,) of each utterance.
    """
    session = onnxruntime.InferenceSession(
        graph, providers=["CPUExecutionProvider"]
    )
    embeddings = {}
    dataset = UtteranceDataset(utterances, sample_rate)
    for place in show_progress(range(len(dataset)), "int8", "file"):
        item = dataset[place]
        (rows,) = session.run(None, {"wavs": item["sig"][None].numpy()})
        embeddings[item["id"]] = torch.from_numpy(rows[0])
    return embeddings


def find_test(
    folder: Path, training: dict, data_folder: Path, trials: str | None
) -> TrialSet:
    """Find trials of speakers that were not trained on.

    Arguments
    ---------
    folder : Path
        Model folder; a list that is fetched is kept beside it.
    training : dict
        Its training.json.
    data_folder : Path
        VoxCeleb1's layout.
    trials : str | None
        As for `find_trials`.

    Returns
    -------
    test : TrialSet
        For `write_int8`.

    Raises
    ------
    ValueError
        Names the list and speakers of it that were trained on, or what is
        missing.
    """
    found = find_utterances(data_folder)
    trial_list = find_trials(data_folder, folder.absolute().parent, trials)
    test = read_trial_set(trial_list, found)
    trained_on = trial_speakers(test.trials) & set(training["speakers"])
    if trained_on:
        raise ValueError(
            f"{trial_list}: {len(trained_on)} of its speakers were trained on "
            f"({', '.join(sorted(trained_on)[:5])}): int8's EER needs trials "
            "of others, such as the development trials, save/dev_trials.txt"
        )
    return test


def write_int8(folder: Path, model: SpeakerRecognition, test: TrialSet) -> dict:
    """Write the graph in int8, its EER beside PyTorch's, and both in the card.

    Arguments
    ---------
    folder : Path
        Model folder with embedding_model.onnx.
    model : SpeakerRecognition
        Of `load_model`, on the CPU.
    test : TrialSet
        Of `find_test`.

    Returns
    -------
    result : dict
        What embedding_model.int8.json has: eer_percent of int8 and float32
        and their difference, each [value, low, high] over speakers, its
        p_value, bytes of both graphs, num_products, and where they come from.

    Raises
    ------
    ValueError
        Names files that cannot be used; nothing of int8 is written then.
    """
    trial_list, listed, utterances, _ = test
    sample_rate = model.hparams.sample_rate
    loader = make_loader(
        utterances,
        f"files of {trial_list}",
        sample_rate,
        choose_batch_seconds(None, model.device),
        num_workers=0,
    )
    float32 = embed_utterances(loader, model.mods, model.device)
    graph, path = folder / ONNX_FILE, folder / INT8_FILE
    with replacing(path) as partial:
        num_products = quantise(graph, partial)
        int8 = embed_by_graph(utterances, partial, sample_rate)
        speakers = [
            [speaker_id(name) for name in names]
            for names in (listed.enrol, listed.test)
        ]
        *estimates, p_value = compare_systems(
            score_trials(listed, int8),
            score_trials(listed, float32),
            listed.is_target,
            *speakers,
            equal_error_rate,
        )
        names = ("int8", "float32", "difference")
        result = {
            "eer_percent": {
                name: [round(100 * number, 4) for number in estimate]
                for name, estimate in zip(names, estimates, strict=True)
            },
            "p_value": p_value,
            "bytes": {
                "int8": partial.stat().st_size,
                "float32": graph.stat().st_size,
            },
            "num_products": num_products,
            "num_trials": len(listed.enrol),
            "num_target_trials": int(np.sum(listed.is_target)),
            "num_speakers": len({*speakers[0], *speakers[1]}),
            **trial_origin(trial_list, len(utterances), model.device),
            DIGEST: digest_model(folder),
            "commit": git_commit(),
        }
        write_block(folder, "int8", tell_int8(result))
        write_json(folder / INT8_RESULT_FILE, result)
    return result


def tell_int8(result: dict) -> str:
    """What int8 costs and saves, as a paragraph of the card.

    Arguments
    ---------
    result : dict
        Of `write_int8`.

    Returns
    -------
    text : str
        Markdown.

    Example
    -------
    >>> rates = {"int8": [2.1, 1, 3], "float32": [2, 1, 3]}
    >>> rates |= {"difference": [0.1, -0.1, 0.2]}
    >>> result = {"eer_percent": rates, "p_value": 0.25, "num_trials": 100}
    >>> result |= {"trials": "dev_trials.txt", "num_speakers": 40}
    >>> result |= {"bytes": {"int8": 500000, "float32": 2000000}}
    >>> print(tell_int8(result))
    With weights of 8 bits, `embedding_model.int8.onnx` has 0.50 MB in the stead
    of 2.00 MB, and on 100 trials of 40 speakers (dev_trials.txt) an EER of
    2.10 % beside 2.00 %: a difference of 0.10 points (-0.10 to 0.20, p = 0.25).
    """
    int8, float32 = (result["bytes"][name] for name in ("int8", "float32"))
    rates = result["eer_percent"]
    difference, low, high = rates["difference"]
    return (
        f"With weights of 8 bits, `{INT8_FILE}` has {int8 / 1e6:.2f} MB in the "
        f"stead\nof {float32 / 1e6:.2f} MB, and on {result['num_trials']} "
        f"trials of {result['num_speakers']} speakers ({result['trials']}) an "
        f"EER of\n{rates['int8'][0]:.2f} % beside {rates['float32'][0]:.2f} %: "
        f"a difference of {difference:.2f} points ({low:.2f} to {high:.2f}, "
        f"p = {result['p_value']:.2g})."
    )
