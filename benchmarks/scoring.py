"""Scores of trials, plain and by adaptive s-norm, beside a loop over trials.

The loop is what SpeechBrain's verification recipe does: for each trial the
cosines of both utterances with the whole cohort, anew. It takes minutes, so
it is timed on a few trials; what is said of all of them is extrapolated.
"""

import argparse

import numpy as np
import torch
from command import run
from torch import Tensor

from benchmarks.measurement import (
    Row,
    Target,
    ratio,
    stage_parser,
    time_alternately,
    write_stage,
)
from custom_modules.normalisation import cohort_statistics, s_norm
from custom_modules.scoring import cosine_scores

TOLERANCE = 1e-3  # of normalised scores: the loop is float32


def loop_scores(
    embeddings: Tensor, enrol: np.ndarray, test: np.ndarray
) -> list[float]:
    """Cosine of each trial, one after the other."""
    similarity = torch.nn.CosineSimilarity(dim=-1)
    return [
        similarity(embeddings[i], embeddings[j]).item()
        for i, j in zip(enrol, test, strict=True)
    ]


def loop_s_norm(
    embeddings: Tensor,
    cohort: Tensor,
    enrol: np.ndarray,
    test: np.ndarray,
    top_k: int,
) -> list[float]:
    """Adaptive s-norm, the cohort scored twice for each trial."""
    similarity = torch.nn.CosineSimilarity(dim=-1)
    normalised = []
    for i, j in zip(enrol, test, strict=True):
        score = similarity(embeddings[i], embeddings[j])
        parts = []
        for utterance in (i, j):
            repeated = embeddings[utterance].repeat(len(cohort), 1)
            cosines = similarity(repeated, cohort).topk(top_k).values
            parts.append((score - cosines.mean()) / cosines.std())
        normalised.append((sum(parts) / 2).item())
    return normalised


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("scoring", __doc__)
    parser.add_argument("--num_trials", type=int, default=37_720)
    parser.add_argument("--num_utterances", type=int, default=4_708)
    parser.add_argument("--num_cohort", type=int, default=20_000)
    parser.add_argument("--top_k", type=int, default=300)
    parser.add_argument("--emb_dim", type=int, default=192)
    parser.add_argument(
        "--num_looped",
        type=int,
        nargs=2,
        default=[2000, 20],
        help="trials of the loops without and with normalisation",
    )
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    embeddings = torch.randn(args.num_utterances, args.emb_dim)
    cohort = torch.randn(args.num_cohort, args.emb_dim)
    trials = rng.integers(args.num_utterances, size=(2, args.num_trials))
    rows, targets = measure(args, embeddings, cohort, *trials)
    write_stage("scoring", args, "cpu", rows, targets)


def measure(
    args: argparse.Namespace,
    embeddings: Tensor,
    cohort: Tensor,
    enrol: np.ndarray,
    test: np.ndarray,
) -> tuple[list[Row], list[Target]]:
    """Time both kinds of scores by both ways, and compare what they give."""

    def plain() -> np.ndarray:
        return cosine_scores(embeddings, enrol, test)

    def normalised() -> np.ndarray:
        scores = cosine_scores(embeddings, enrol, test)
        statistics = cohort_statistics(embeddings, cohort, args.top_k)
        return s_norm(scores, statistics, enrol, test)

    few, fewer = args.num_looped
    tasks = {
        "loop": lambda: loop_scores(embeddings, enrol[:few], test[:few]),
        "plain": plain,
        "loop_s_norm": lambda: loop_s_norm(
            embeddings, cohort, enrol[:fewer], test[:fewer], args.top_k
        ),
        "s_norm": normalised,
    }
    for way, loop, num in (
        ("plain", "loop", few),
        ("s_norm", "loop_s_norm", fewer),
    ):
        error = np.abs(tasks[way]()[:num] - np.array(tasks[loop]())).max()
        if error > TOLERANCE:
            raise ValueError(f"{way} differs from its loop by {error:.2g}")
    seconds = time_alternately(tasks, args.repeats)
    kind = f"adaptive s-norm, {args.num_cohort:,} in the cohort"
    rows = {
        "loop": Row("cosines, a loop", seconds["loop"], few, "trials"),
        "plain": Row("cosines, ours", seconds["plain"], len(enrol), "trials"),
        "loop_s_norm": Row(
            f"{kind}, a loop", seconds["loop_s_norm"], fewer, "trials"
        ),
        "s_norm": Row(f"{kind}, ours", seconds["s_norm"], len(enrol), "trials"),
    }
    for name in ("loop", "loop_s_norm"):
        row = rows[name]
        seconds_of_all = row.median / row.count * len(enrol)
        note = f"{len(enrol):,} trials would take {seconds_of_all:.3g} s"
        rows[name] = row._replace(note=note)
    targets = [
        Target(
            "loop / ours, s-norm",
            ratio(rows["loop_s_norm"], rows["s_norm"]),
            1000.0,
        )
    ]
    return list(rows.values()), targets


if __name__ == "__main__":
    run(main)
