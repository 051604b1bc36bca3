"""Seeds of random work and faults, each against the same work without faults, and against rules that always hold.

    python bench/convergence.py [how many] [from which on]

One that fails is played again, exactly, by `python bench/convergence.py 1 SEED`.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from keelback.testing.convergence import compare

_TOLD = 10
"""After how many seeds it says how far it is."""
_LIMIT_SECONDS = 600.0
"""After how long a seed is taken for one that never ends."""


@contextmanager
def limited(seed: int) -> Iterator[None]:
    """End the process, and say where it was, if the block does not end."""

    def give_up() -> None:
        print(f"seed {seed}: not over after {_LIMIT_SECONDS:g} s", flush=True)
        faulthandler.dump_traceback()
        os._exit(1)

    timer = threading.Timer(_LIMIT_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def main() -> int:
    """Play the seeds; 1 if one came to another state, or broke a rule."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began, cpu = time.perf_counter(), time.process_time()
    failed = []
    for seed in range(first, first + number):
        try:
            with limited(seed):
                difference = compare(seed)
            said = () if difference is None else difference.lines
        except Exception:
            # A seed that cannot be played says so, and the others are played.
            said = tuple(traceback.format_exc().splitlines())
        for line in said:
            print(f"seed {seed}: {line}", flush=True)
        if said:
            failed.append(seed)
            print(f"seed {seed}: again by python bench/convergence.py 1 {seed}", flush=True)
        if (played := seed + 1 - first) % _TOLD == 0:
            print(f"{played} played, {len(failed)} failed", flush=True)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"{number - len(failed)} of {number} seeds from {first} on came to the same state and broke no rule; "
        f"{seconds / number:.2f} s a seed, {cpu / number:.2f} s of CPU; failed: {failed or 'none'}"
    )
    return bool(failed)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of text are in another order in each process: not in these.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
