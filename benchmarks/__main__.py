"""Run every stage, one after the other, each in a process of its own."""

import subprocess
import sys

from command import Parser

from benchmarks import ROOT

STAGES = (
    "preparation",
    "loading",
    "augmentation",
    "training_step",
    "extraction",
    "scoring",
    "metrics",
    "growth",
)


def main(argv: list[str]) -> None:
    """Run all stages; options, such as --output=FOLDER, go to each."""
    parser = Parser(
        prog="python -m benchmarks",
        description="Run every stage, one after the other. Options of all "
        "stages go to each.",
        epilog="Example: python -m benchmarks --repeats=3",
    )
    parser.parse_known_args(argv)
    for stage in STAGES:
        sys.stderr.write(f"\n{stage} …\n")
        command = [sys.executable, "-m", f"benchmarks.{stage}", *argv]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    sys.stderr.write("\nThe results are in results/benchmarks/table.md\n")


if __name__ == "__main__":
    main(sys.argv[1:])
