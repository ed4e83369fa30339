"""Run every stage, one after the other, each in a process of its own."""

import subprocess
import sys

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
    for stage in STAGES:
        sys.stderr.write(f"\n{stage} …\n")
        command = [sys.executable, "-m", f"benchmarks.{stage}", *argv]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    sys.stderr.write("\nThe results are in results/benchmarks/table.md\n")


if __name__ == "__main__":
    main(sys.argv[1:])
