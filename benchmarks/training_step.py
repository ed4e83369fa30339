"""The training step of `mfcon.yaml`, beside the same mathematics plainly.

Each variant runs in a process of its own, in turn with the others.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from command import run
from cpu_memory import keep_freed_memory
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import infer_device
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ROOT
from benchmarks.measurement import (
    Row,
    Target,
    operation_shares,
    peak_memory,
    product_rate,
    run_alone,
    stage_parser,
    write_stage,
)
from benchmarks.plain_model import make_plain_modules, make_plain_objective
from custom_modules.losses import Predictions

RATE = 16000  # Hz
NUM_SPEAKERS = 1211
PARTS = (
    *("augmentation", "features", "encoder", "heads", "losses"),
    *("backward", "optimiser"),
)
# Dense floating-point operations a second, from NVIDIA's data sheets.
PEAKS = {
    "H100 80GB HBM3": {"float32": 494.7e12, "bfloat16": 989.4e12},
    "H200": {"float32": 494.7e12, "bfloat16": 989.4e12},
    "A100-SXM4": {"float32": 156e12, "bfloat16": 312e12},
}


class Variant(NamedTuple):
    """What a step is made of.

    Arguments
    ---------
    label : str
        For the table.
    is_plain : bool
        The reference.
    keeps_memory : bool
        Freed memory is kept, as training does on the CPU.
    overrides : Mapping[str, float]
        Of `mfcon.yaml`.
    precision : str
        "float32", on a GPU with TF32, or "bfloat16".
    is_compiled : bool
        Encoder and heads by torch.compile.
    """

    label: str
    is_plain: bool = False
    keeps_memory: bool = True
    overrides: Mapping[str, float] = MappingProxyType({})
    precision: str = "float32"
    is_compiled: bool = False


VARIANTS = {
    "plain": Variant("plain", is_plain=True, keeps_memory=False),
    "plain_kept": Variant("plain, freed memory kept", is_plain=True),
    "ours": Variant("ours"),
    "ours_default": Variant("ours, freed memory not kept", keeps_memory=False),
    "without_mfcon": Variant(
        "ours, without MFCon's heads and losses", overrides={"mfcon_weight": 0}
    ),
    "bf16": Variant("ours, bf16", precision="bfloat16"),
    "compiled": Variant("ours, compiled", is_compiled=True),
    "bf16_compiled": Variant(
        "ours, bf16, compiled", precision="bfloat16", is_compiled=True
    ),
}
ON_CPU = (
    "plain",
    "plain_kept",
    "ours",
    "ours_default",
    "without_mfcon",
    "bf16",
)
ON_GPU = ("plain", "ours", "without_mfcon", "bf16", "compiled", "bf16_compiled")


class Step:
    """A training step on one batch of noise, timed part by part.

    Arguments
    ---------
    variant : Variant
        What it is made of.
    args : argparse.Namespace
        batch_size, crop and device; sizes, overrides of every variant.
    """

    def __init__(self, variant: Variant, args: argparse.Namespace):
        self.variant = variant
        self.device = torch.device(args.device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        overrides = {**json.loads(args.sizes), **variant.overrides}
        with open(ROOT / "hparams" / "mfcon.yaml", encoding="utf-8") as file:
            self.hparams = load_hyperpyyaml(file, overrides)
        self.modules = self.hparams["modules"]
        self.objective = self.hparams["objective"]
        if variant.is_plain:
            self.modules = make_plain_modules(self.hparams, self.modules)
            self.objective = make_plain_objective(self.hparams)
        self.modules["classifier"] = self.hparams["classifier"](
            out_neurons=NUM_SPEAKERS
        )
        for name, module in self.modules.items():
            module.to(self.device).train()
            if (
                variant.is_compiled
                and name in (self.hparams["compile_module_keys"])
            ):
                module.compile()
        if not self.objective.needs_blocks:
            del self.modules["block_heads"]
        self.optimizer = self.hparams["opt_class"](
            [p for m in self.modules.values() for p in m.parameters()],
            **({"fused": False} if variant.is_plain else {}),
        )
        shape = args.batch_size, round(args.crop * RATE)
        self.wavs = 0.1 * torch.randn(shape, device=self.device)
        self.labels = torch.arange(args.batch_size, device=self.device)
        self.labels = (self.labels % NUM_SPEAKERS).repeat(2)
        self.draws = self._draw(shape)

    def _draw(self, shape: tuple[int, int]) -> tuple[Tensor, ...]:
        """Half of the utterances get noise, half a room of 0.5 s."""
        is_noise = torch.arange(shape[0]) % 2 == 0
        lengths = torch.where(is_noise, shape[1], min(shape[1], RATE // 2))
        material = torch.randn(shape)
        material[torch.arange(shape[1]) >= lengths.unsqueeze(1)] = 0.0
        snrs = torch.full(shape[:1], 20.0, device=self.device)
        return material.to(self.device), snrs, is_noise, lengths

    def run(self) -> dict[str, float]:
        """One step; seconds of each part."""
        marks = [self._now()]
        autocast = torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.variant.precision == "bfloat16",
        )
        self.hparams["noise_or_reverb"].set_draws(*self.draws)
        copies = self.hparams["noise_or_reverb"](self.wavs)
        wavs = torch.cat([self.wavs, copies])
        marks.append(self._now())
        lens = torch.ones(len(wavs), device=self.device)
        with autocast:
            feats = self.modules["compute_features"](wavs)
            feats = self.modules["mean_var_norm"](feats, lens)
            marks.append(self._now())
            block_outputs, lengths = self.modules["encoder"](feats)
            marks.append(self._now())
            frames = torch.cat(block_outputs, dim=-1)
            embeddings = self.modules["embedding_head"](frames, lengths)
            block_embeddings = []
            if self.objective.needs_blocks:
                block_embeddings = self.modules["block_heads"](
                    block_outputs, lengths
                )
        embeddings = embeddings.float()
        block_embeddings = [block.float() for block in block_embeddings]
        outputs = self.modules["classifier"](embeddings)
        outputs = outputs.reshape(len(embeddings), -1)
        marks.append(self._now())
        terms = self.objective(
            Predictions(outputs, embeddings, block_embeddings), self.labels
        )
        loss = sum(terms.values())
        marks.append(self._now())
        loss.backward()
        marks.append(self._now())
        self.optimizer.step()
        self.optimizer.zero_grad()
        marks.append(self._now())
        return {
            part: after - before
            for part, before, after in zip(
                PARTS, marks[:-1], marks[1:], strict=True
            )
        }

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak_gb(self) -> float:
        """Peak memory: of the GPU's tensors, or of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        return peak_memory()

    def flops(self) -> int:
        """Floating-point operations of a step's products and convolutions."""
        with FlopCounterMode(display=False) as counter:
            self.run()
        return counter.get_total_flops()


def run_variant(variant: Variant, args: argparse.Namespace) -> None:
    """Time a variant in this process; print JSON."""
    if variant.keeps_memory and args.device == "cpu":
        keep_freed_memory()
    step = Step(variant, args)
    for _ in range(args.warmups):
        step.run()
    parts = [step.run() for _ in range(args.steps)]
    result = {"parts": parts, "gb": step.peak_gb()}
    if variant.is_plain:
        result["flops"] = step.flops()
    result["profile"] = operation_shares(step.run, args.device)
    sys.stdout.write(json.dumps(result) + "\n")


def device_peak(device: str, precision: str) -> float | None:
    """Operations a second that the data sheet says; None where not known."""
    if device == "cpu":
        return None
    name = torch.cuda.get_device_name(device)
    return next((p[precision] for n, p in PEAKS.items() if n in name), None)


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    on_gpu = infer_device() != "cpu"
    parser = stage_parser("training_step", __doc__)
    parser.add_argument("--device", default=infer_device())
    parser.add_argument(
        "--batch_size",
        type=int,
        default=100 if on_gpu else 8,
        help="utterances, each with a copy",
    )
    parser.add_argument("--crop", type=float, default=3.0, help="s")
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 4)
    parser.add_argument("--warmups", type=int, default=5 if on_gpu else 3)
    parser.add_argument(
        "--variants", nargs="+", default=ON_GPU if on_gpu else ON_CPU
    )
    parser.add_argument(
        "--sizes", default="{}", help="overrides of mfcon.yaml, as JSON"
    )
    parser.add_argument("--alone", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.set_defaults(repeats=3)
    args = parser.parse_args(argv)
    if args.alone:
        run_variant(VARIANTS[args.alone], args)
        return
    passed = [
        f"--{key}={getattr(args, key)}"
        for key in (
            *("device", "batch_size", "crop", "steps", "warmups", "sizes"),
        )
    ]
    results = {name: [] for name in args.variants}
    for _ in range(args.repeats):
        for name, measured in results.items():
            measured.append(
                run_alone(
                    "benchmarks.training_step", f"--alone={name}", *passed
                )
            )
    flops = results["plain"][0]["flops"]
    rate = product_rate(args.device)
    rows, parts = {}, {}
    for name, measured in results.items():
        steps = [part for result in measured for part in result["parts"]]
        seconds = [sum(step.values()) - step["augmentation"] for step in steps]
        parts[name] = {
            part: 1e3 * statistics.median(step[part] for step in steps)
            for part in PARTS
        }
        variant = VARIANTS[name]
        speed = flops / statistics.median(seconds)
        peak = device_peak(args.device, variant.precision)
        share = speed / (peak or rate)
        of = "the device's peak" if peak else "a float32 matrix product's rate"
        gb = max(result["gb"] for result in measured)
        split = ", ".join(
            f"{part} {parts[name][part]:.3g}" for part in PARTS[1:]
        )
        rows[name] = Row(
            f"step, {variant.label}",
            seconds,
            2 * args.batch_size,
            "utterances",
            f"ms: {split}; peak {gb:.2f} GB; {speed / 1e12:.3g} TFLOP/s, "
            f"{share:.0%} of {of}",
        )
    write_stage(
        "training_step",
        args,
        args.device,
        list(rows.values()),
        make_targets(rows, parts, args.device),
        milliseconds=parts,
        profiles={
            VARIANTS[name].label: measured[-1]["profile"]
            for name, measured in results.items()
        },
        flops=flops,
        matrix_product_flops_per_second=rate,
    )


def make_targets(
    rows: dict[str, Row], parts: dict[str, dict[str, float]], device: str
) -> list[Target]:
    """Ratios of the issue, as far as their variants were run."""
    medians = {name: row.median for name, row in rows.items()}
    on_gpu = device != "cpu"
    wanted = [
        ("plain", "ours", "plain / ours", 2.0 if on_gpu else 1.3),
        ("plain_kept", "ours", "plain / ours, both keeping freed memory", 1.3),
        ("plain", "bf16_compiled", "plain / ours in bf16, compiled", 4.0),
    ]
    targets = [
        Target(label, medians[reference] / medians[name], bound)
        for reference, name, label, bound in wanted
        if {reference, name} <= medians.keys()
    ]
    if {"ours", "without_mfcon"} <= medians.keys():
        cost = medians["ours"] / medians["without_mfcon"]
        label = "with / without MFCon's heads and losses"
        targets.append(Target(label, cost, 1.1, False))
    if "ours" in parts:
        step = sum(parts["ours"].values())
        share = parts["ours"]["augmentation"] / step
        label = "augmentation / step"
        targets.append(Target(label, share, 0.1, False))
    return targets


if __name__ == "__main__":
    run(main)
