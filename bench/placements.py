"""Seeds of random changes, faults and restarts around the scheduler, and the rules that each placement must keep.

python bench/placements.py [how many] [from which on]
"""

from __future__ import annotations

import sys
import time

from keelback.component import logs
from keelback.testing.placements import play


def main() -> int:
    """Play the seeds; 1 if one of them broke a rule."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    logs.configure(level=logs.ERROR)
    failed, cpu = [], time.process_time()
    for seed in range(first, first + number):
        broken = play(seed)
        for line in broken:
            print(f"seed {seed}: {line}", flush=True)
        failed += [seed] if broken else []
    took = (time.process_time() - cpu) / number
    print(f"{number - len(failed)} of {number} seeds from {first} on kept the rules, {took:.1f} s CPU each; {failed}")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
