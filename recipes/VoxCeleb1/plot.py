#!/usr/bin/env python3
"""Draw what was measured: OUTPUT.png and OUTPUT.svg.

usage: python plot.py det REPORT… --output=OUTPUT
       python plot.py scores REPORT --output=OUTPUT
       python plot.py attention MODEL_FOLDER WAV --output=OUTPUT
       python plot.py blocks RUN_FOLDER… --data_folder=FOLDER --output=OUTPUT
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from attention_maps import load_attentive_model, map_attention
from block_rates import measure_trainings
from command import Parser, TaglessLoader, run
from figures import draw_det, draw_scores, save_figure
from matplotlib.figure import Figure
from network_figures import draw_attention, draw_blocks
from report import write_json
from scored_reports import choose_labels, read_json, read_system
from voxceleb1_layout import find_trials

VERIFY_YAML = Path(__file__).parent / "hparams" / "verify.yaml"
SETTINGS = ("seed", "batch_seconds", "num_workers", "num_resamples")


def choose_output(given: str) -> Path:
    """The figure's path, refused with a suffix: two files are written."""
    output = Path(given).absolute()
    if output.suffix.lower() in (".png", ".svg", ".json", ".pdf"):
        raise ValueError(
            f"--output={given}: leave out the suffix, {output.stem}.png and "
            f"{output.stem}.svg are written"
        )
    return output


def det(args: argparse.Namespace) -> None:
    """DET curves of several reports on the same trials."""
    folders = [Path(path).parent for path in args.reports]
    labels = choose_labels(args.labels, folders)
    read = [
        read_system(path, label)
        for path, label in zip(args.reports, labels, strict=True)
    ]
    first = read[0][0]
    for path, (report, _) in zip(args.reports, read, strict=True):
        if report["trials_sha256"] != first["trials_sha256"]:
            raise ValueError(
                f"{args.reports[0]} and {path} are of different trial lists "
                f"({first['trials']}, {first['trials_sha256'][:8]}… and "
                f"{report['trials']}, {report['trials_sha256'][:8]}…): their "
                "curves do not compare"
            )
    title = f"DET curves, {first['trials']} ({first['num_trials']:,} trials)"
    figure = draw_det([system for _, system in read], args.title or title)
    finish(figure, args)


def scores(args: argparse.Namespace) -> None:
    """Histograms of a report's scores, with its thresholds."""
    report, system = read_system(args.report, "")
    thresholds = {f"EER {report['eer_percent']:.2f} %": report["eer_threshold"]}
    if report.get("min_dcf_0.01_threshold") is not None:
        name = f"minDCF(0.01) {report['min_dcf_0.01']:.3f}"
        thresholds[name] = report["min_dcf_0.01_threshold"]
    title = f"Scores, {report['trials']}, {report.get('model', '')}"
    scoring = report.get("scoring", "cosine")  # the only one once
    title = args.title or title
    finish(draw_scores(system, thresholds, title, scoring), args)


def attention(args: argparse.Namespace) -> None:
    """Attention weights of one utterance over its spectrogram."""
    folders = [args.model_folder, *([args.single] if args.single else [])]
    models = [load_attentive_model(path, args.device) for path in folders]
    maps = [map_attention(*model, args.wav) for model in models]
    single = maps[1] if args.single else None
    title = f"Attention weights, {'/'.join(Path(args.wav).parts[-3:])}"
    finish(draw_attention(maps[0], single, args.title or title), args)


def blocks(args: argparse.Namespace) -> None:
    """EER against depth: to a JSON file first, and from it to the figure."""
    output = choose_output(args.output)
    numbers = output.with_name(f"{output.name}.json")
    if args.run_folders:
        if args.data_folder is None:
            raise ValueError("--data_folder=FOLDER is needed, for the trials")
        labels = choose_labels(args.labels, list(map(Path, args.run_folders)))
        output.parent.mkdir(parents=True, exist_ok=True)
        rates = measure_trainings(
            dict(zip(labels, args.run_folders, strict=True)),
            args.data_folder,
            find_trials(args.data_folder, output.parent, args.trials),
            args.device,
            **{key: getattr(args, key) for key in SETTINGS},
        )
        write_json(numbers, rates)
    rates = read_json(numbers, "plot.py blocks RUN_FOLDER")
    if "models" not in rates:
        raise ValueError(f"{numbers}: not written by plot.py blocks")
    title = (
        f"EER of every block, {rates['trials']} ({rates['num_trials']:,} "
        "trials)"
    )
    finish(draw_blocks(rates, args.title or title), args)


def finish(figure: Figure, args: argparse.Namespace) -> None:
    """Write the figure and say where it is."""
    output = choose_output(args.output)
    save_figure(figure, output)
    sys.stdout.write(f"{output.name}.png, {output.name}.svg: {output.parent}\n")


def make_parser() -> Parser:
    """Arguments of the four figures."""
    parser = Parser(
        prog="plot.py",
        description="Draw what was measured.",
        epilog="Example: python plot.py scores "
        "runs/mfcon/1986/verification/report.json --output=runs/figures/scores",
    )
    figures = parser.add_subparsers(required=True, metavar="FIGURE")

    def add(draw: Callable[[argparse.Namespace], None]) -> Parser:
        figure = figures.add_parser(draw.__name__, help=draw.__doc__)
        figure.set_defaults(draw=draw)
        figure.add_argument(
            "--output", required=True, help="path without suffix"
        )
        figure.add_argument("--title", help="instead of the usual one")
        return figure

    figure = add(det)
    figure.add_argument("reports", nargs="+", metavar="REPORT")
    figure.add_argument("--labels", help="of each report, with commas")

    figure = add(scores)
    figure.add_argument("report", metavar="REPORT")

    figure = add(attention)
    figure.add_argument("model_folder", metavar="MODEL_FOLDER")
    figure.add_argument("wav", metavar="WAV")
    figure.add_argument("--single", help="model folder with one head")
    figure.add_argument("--device", default="cpu", help="or cuda:0")

    figure = add(blocks)
    figure.add_argument(
        "run_folders",
        nargs="*",
        metavar="RUN_FOLDER",
        help="output folders of trainings; none: draw OUTPUT.json again",
    )
    figure.add_argument("--data_folder", help="VoxCeleb1")
    figure.add_argument("--trials", help="a list, or that of the data folder")
    figure.add_argument("--labels", help="of each training, with commas")
    figure.add_argument("--device", default="cpu", help="or cuda:0")
    settings = yaml.load(VERIFY_YAML.read_text("utf-8"), Loader=TaglessLoader)
    for key in SETTINGS:
        figure.add_argument(
            f"--{key}",
            type=float if key == "batch_seconds" else int,
            default=settings[key],
            help=f"as in verify.yaml, {settings[key]}",
        )
    return parser


def main(argv: list[str]) -> None:
    """Draw one figure."""
    args = make_parser().parse_args(argv)
    choose_output(args.output)
    args.draw(args)


if __name__ == "__main__":
    run(main)
