"""Seeds of random work and faults, each played with and without the faults: `python bench/convergence.py 100 7` plays
a hundred from the seventh on."""

from __future__ import annotations

import sys
import time

from keelback.testing.convergence import compare


def main() -> int:
    """Play the seeds; 1 if one came to another state."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.perf_counter()
    failed = 0
    for seed in range(first, first + number):
        difference = compare(seed)
        failed += difference is not None
        said = difference.lines if difference is not None else ("the same",)
        for line in said:
            print(f"seed {seed}: {line}", flush=True)
    seconds = time.perf_counter() - began
    print(f"{number - failed} of {number} seeds came to the same state, in {seconds:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
