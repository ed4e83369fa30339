"""Error rates of many scores, beside SpeechBrain's."""

import numpy as np
import torch
from command import run
from speechbrain.utils.metric_stats import EER, minDCF

from benchmarks.measurement import (
    Row,
    Target,
    stage_parser,
    time_alternately,
    write_stage,
)
from custom_modules.metrics import equal_error_rate, min_dcf

TOLERANCE = 1e-3
# Of SpeechBrain's matrices: for each pair of a score and a threshold a
# float32 and a bool; as many thresholds again lie between the scores.
BYTES_PER_PAIR = 5


def draw_scores(num_scores: int) -> tuple[np.ndarray, np.ndarray]:
    """Half target, half not, with an EER of about 10 %."""
    rng = np.random.default_rng(0)
    is_target = np.arange(num_scores) % 2 == 0
    scores = rng.standard_normal(num_scores) + 2.5 * is_target
    return scores.astype(np.float32), is_target


def main(argv: list[str]) -> None:
    """Measure the stage as the command line says."""
    parser = stage_parser("metrics", __doc__)
    parser.add_argument(
        "--num_scores", type=int, nargs=2, default=[37_720, 581_480]
    )
    parser.add_argument(
        "--num_reference",
        type=int,
        default=10_000,
        help="scores that SpeechBrain's take, for their time and memory",
    )
    args = parser.parse_args(argv)
    rows, targets = [], []
    for num_scores, bound in zip(args.num_scores, (0.05, 0.5), strict=True):
        scores, is_target = draw_scores(num_scores)

        def both(scores=scores, is_target=is_target) -> tuple[float, float]:
            eer, _ = equal_error_rate(scores, is_target)
            cost, _ = min_dcf(scores, is_target)
            return eer, cost

        timed = time_alternately({"both": both}, args.repeats)
        row = Row(
            f"EER and minDCF of {num_scores:,} scores, ours",
            *(timed["both"], num_scores, "scores"),
        )
        rows.append(row)
        label = f"{num_scores:,} scores"
        targets.append(Target(label, row.median, bound, False, "s"))
    scores, is_target = draw_scores(args.num_reference)
    targets_of, others = (
        torch.from_numpy(scores[part]) for part in (is_target, ~is_target)
    )
    timed = time_alternately(
        {
            "EER": lambda: EER(targets_of, others),
            "minDCF": lambda: minDCF(targets_of, others),
            "ours": lambda: (
                equal_error_rate(scores, is_target),
                min_dcf(scores, is_target),
            ),
        },
        min(args.repeats, 3),
    )
    theirs, _ = EER(targets_of, others)
    ours, _ = equal_error_rate(scores, is_target)
    if abs(theirs - ours) > TOLERANCE:
        raise ValueError(f"EERs differ: {theirs} by SpeechBrain, {ours} by us")
    # Both have one matrix at a time, of half of the scores.
    memory = args.num_scores[1] ** 2 * BYTES_PER_PAIR / 1e12
    notes = {
        "EER": "time grows with the square",
        "minDCF": f"{args.num_scores[1]:,} would take {memory:.2g} TB",
        "ours": "",
    }
    for name, seconds in timed.items():
        kind = "ours, both" if name == "ours" else f"SpeechBrain's {name}"
        rows.append(
            Row(
                f"{kind}, {args.num_reference:,} scores",
                *(seconds, args.num_reference, "scores", notes[name]),
            )
        )
    write_stage("metrics", args, "cpu", rows, targets)


if __name__ == "__main__":
    run(main)
