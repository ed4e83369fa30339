"""How fast each stage is, beside the code that users have today.

    python -m benchmarks                 # all of them
    python -m benchmarks.training_step   # one

from the root of the repository. Each makes the data it needs, writes
`results/benchmarks/<stage>.json` and renews `results/benchmarks/table.md`.

    python -m benchmarks.soak            # does a long training grow?
    python -m benchmarks.coverage        # do intervals hold the true value?

are commands of their own.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The recipe's files are scripts and what they share, not a package.
if str(ROOT / "recipes" / "VoxCeleb1") not in sys.path:
    sys.path.insert(0, str(ROOT / "recipes" / "VoxCeleb1"))
