"""Embeddings of whole utterances in batches, beside one at a time."""

import numpy as np
import torch
from command import run
from extraction import embed_batch, embed_utterances
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import infer_device
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from whole_utterances import batch_by_length, choose_batch_seconds

from benchmarks import ROOT
from benchmarks.measurement import (
    Row,
    Target,
    operation_shares,
    product_rate,
    ratio,
    stage_parser,
    time_alternately,
    write_stage,
)

RATE = 16000  # Hz
TOLERANCE = 1e-4
# Shortest, median and longest in s.
LENGTHS = {
    "1.6 to 8 s, as VoxOcean": (1.6, 3.2, 8.0),
    "4 to 25 s, as VoxCeleb1": (4.0, 7.0, 25.0),
}


def draw_utterances(
    num_utterances: int, shortest: float, median: float, longest: float
) -> dict[str, Tensor]:
    """Noise of log-normal lengths, in random order."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(np.log(median), 0.4, num_utterances)
    lengths = (lengths.clip(shortest, longest) * RATE).astype(int)
    return {
        f"utterance {i}": 0.1 * torch.randn(int(length))
        for i, length in enumerate(lengths)
    }


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("extraction", __doc__)
    parser.add_argument("--num_utterances", type=int, default=60)
    parser.add_argument("--device", default=infer_device())
    parser.add_argument("--batch_seconds", type=float, help="s")
    parser.add_argument(
        "--sizes", default="{}", help="overrides of mfcon.yaml, as JSON"
    )
    args = parser.parse_args(argv)
    batch_seconds = choose_batch_seconds(args.batch_seconds, args.device)
    with open(ROOT / "hparams" / "mfcon.yaml", encoding="utf-8") as file:
        model = load_hyperpyyaml(file, args.sizes)["model"]
    modules = model["modules"]
    for module in modules.values():
        module.to(args.device).eval()

    def pad(utterances: dict[str, Tensor], names: list[str]) -> PaddedBatch:
        examples = [{"id": name, "sig": utterances[name]} for name in names]
        return PaddedBatch(examples)

    @torch.no_grad()
    def embed_alone(utterances: dict[str, Tensor]) -> dict[str, Tensor]:
        embeddings = {}
        for name in utterances:
            batch = pad(utterances, [name]).to(args.device)
            embeddings |= embed_batch(batch, modules)
        return embeddings

    def embed(utterances: dict[str, Tensor]) -> dict[str, Tensor]:
        durations = {k: len(wav) / RATE for k, wav in utterances.items()}
        batches = batch_by_length(durations, batch_seconds)
        loader = (pad(utterances, names) for names in batches)
        return embed_utterances(loader, modules, args.device)

    rows, targets, profiles = [], [], {}
    rate = product_rate(args.device)
    bound = 1.3 if args.device == "cpu" else 3.0
    for label, lengths in LENGTHS.items():
        utterances = draw_utterances(args.num_utterances, *lengths)
        with FlopCounterMode(display=False) as counter:
            expected = embed_alone(utterances)
        given = embed(utterances)
        error = max(
            (given[name] - expected[name]).abs().max().item()
            for name in utterances
        )
        if error > TOLERANCE:
            raise ValueError(f"batches change embeddings by {error:.2g}")
        timed = time_alternately(
            {
                "one at a time": lambda u=utterances: embed_alone(u),
                f"batches of {batch_seconds:g} s": (
                    lambda u=utterances: embed(u)
                ),
            },
            args.repeats,
        )
        total = sum(map(len, utterances.values())) / RATE
        note = f"{label}; {total:.0f} s of speech; differ by {error:.1g}"
        measured = []
        for name, seconds in timed.items():
            row = Row(name, seconds, args.num_utterances, "utterances")
            share = counter.get_total_flops() / row.median / rate
            of = f"{share:.0%} of a float32 matrix product's rate"
            measured.append(row._replace(note=f"{note}; {of}"))
        rows += measured
        profiles[f"one at a time, {label}"] = operation_shares(
            lambda u=utterances: embed_alone(u), args.device
        )
        name = f"batches / one at a time, {label}"
        targets.append(Target(name, ratio(*measured), bound))
    write_stage(
        "extraction", args, args.device, rows, targets, profiles=profiles
    )


if __name__ == "__main__":
    run(main)
