#!/usr/bin/env python3
"""Train and verify on synthetic voices, from nothing.

usage: python recipes/VoxCeleb1/demo.py recipes/VoxCeleb1/experiments/demo.yaml

Runs the recipe's own commands, as a user would, on a corpus that
`synthetic_corpus.py` makes, and compares with the untrained baseline.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml
from command import Parser, TaglessLoader
from synthetic_corpus import make_corpus

RECIPE = Path(__file__).parent


def run_command(script: str, *arguments: str) -> None:
    """Print a command of the recipe and run it; end with it if it fails."""
    command = [sys.executable, str(RECIPE / script), *arguments]
    shown = " ".join(["python", *command[1:]])
    sys.stdout.write(f"\n$ {shown}\n")
    sys.stdout.flush()
    result = subprocess.run(command, check=False)
    if result.returncode:
        sys.exit(f"the demo stops here: {shown} failed (see above)")


def verify(data_folder: str, output_folder: str, *model: str) -> dict:
    """Verify a model on the corpus's trials; return the report."""
    run_command(
        "verify.py",
        "hparams/verify.yaml",
        f"--data_folder={data_folder}",
        f"--output_folder={output_folder}",
        *model,
    )
    return json.loads(Path(output_folder, "report.json").read_text("utf-8"))


def summarise(baseline: dict, trained: dict, minutes: float) -> str:
    """The table at the end, and what the demo aimed at."""
    lines = ["", f"{'':24}  EER (95 % over speakers)    minDCF(0.01)"]
    for label, report in (
        ("mean and deviation", baseline),
        ("MFCon, trained here", trained),
    ):
        low, high = report["eer_interval_percent"]
        lines.append(
            f"{label:24}  {report['eer_percent']:5.2f} % "
            f"({low:5.2f} to {high:5.2f} %)  {report['min_dcf_0.01']:8.3f}"
        )
    ratio = trained["eer_percent"] / baseline["eer_percent"]
    verdict = "reached" if ratio <= 0.5 else "NOT reached"
    lines.append(
        f"Aim: half of the baseline's EER. {verdict.capitalize()}: "
        f"{100 * ratio:.0f} % of it, in {minutes:.1f} minutes. Synthetic "
        "voices: comparable with nothing else."
    )
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
    """Corpus, baseline, training, verification, comparison."""
    parser = Parser(
        prog="demo.py",
        description="Train and verify on synthetic voices, from nothing.",
        epilog="Example: python demo.py experiments/demo.yaml",
    )
    parser.add_argument("experiment", type=Path, help="YAML file of a demo")
    args = parser.parse_args(argv)
    started = time.monotonic()
    with open(args.experiment, encoding="utf-8") as file:
        demo = yaml.load(file, Loader=TaglessLoader)
    data, output = demo["data_folder"], demo["output_folder"]
    sys.stdout.write(f"Making synthetic voices in {data} (1 to 2 minutes)\n")
    sys.stdout.flush()
    make_corpus(data)
    baseline = verify(
        data,
        f"{output}/baseline",
        "--model_folder=hparams/models",
        "--model_yaml=mean_and_deviation.yaml",
    )
    run_command(
        "train_speaker_embeddings.py",
        demo["hparams"],
        f"--data_folder={data}",
        f"--noise_folder={data}/noise",
        f"--rir_folder={data}/rir",
        f"--output_folder={output}",
        *(f"--{key}={value}" for key, value in demo["overrides"].items()),
    )
    trained = verify(
        data, f"{output}/verification", f"--model_folder={output}/model"
    )
    minutes = (time.monotonic() - started) / 60
    sys.stdout.write(summarise(baseline, trained, minutes))
    sys.stdout.write(
        f"\nModel: {output}/model; log: {output}/train_log.txt; scores and "
        f"reports (report.html, to look at): {output}/verification\n\n"
        "On VoxCeleb1 (README.md says how to get it):\n"
        "  cd recipes/VoxCeleb1\n"
        "  python train_speaker_embeddings.py hparams/mfcon.yaml "
        "--data_folder=/path/to/VoxCeleb1 --noise_folder=/path/to/musan "
        "--rir_folder=/path/to/RIRS_NOISES\n"
        "  python verify.py hparams/verify.yaml "
        "--data_folder=/path/to/VoxCeleb1\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
