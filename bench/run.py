"""Every benchmark, one after the other, with the machine they ran on: `make bench`, or `python bench/run.py store`.

Each is a script of its own, so that none runs in a process that another has warmed or filled.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
TIMEOUT_SECONDS = 900


def names() -> list[str]:
    """The benchmarks there are, by the names of their files. What ends in `_process` belongs to another, and
    some take too long: scheduler_perf (`make bench-scheduler`), oracles, outage and placements."""
    scripts = {script.stem for script in FOLDER.glob("*.py")} - {
        Path(__file__).stem,
        "scheduler_perf",
        "oracles",
        "outage",
    }
    return sorted(name for name in scripts if not name.endswith("_process"))


def main() -> int:
    """Run what is asked for, or all; 1 if one of them failed."""
    asked = sys.argv[1:] or names()
    unknown = sorted(set(asked) - set(names()))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.platform()}")
    failed = []
    for name in asked:
        print(f"\n== {name}", flush=True)
        done = subprocess.run([sys.executable, FOLDER / f"{name}.py"], check=False, timeout=TIMEOUT_SECONDS)
        if done.returncode != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
