"""Vectorised scheduling against the plain scheduler on random clusters, 100,000 of them for each property.

python bench/oracles.py [cases] [--from SEED] [--only PART-OF-A-NAME]

The properties are those of the tests, which try a few hundred cases each. A case that fails is printed with its seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent.parent / "tests"
PROPERTIES = {
    "scheduling/test_evaluation": (
        "test_columns_decide_as_the_plain_scheduler_does",
        "test_columns_spread_as_the_plain_scheduler_does",
    ),
    "scheduler/test_configured_profiles": ("test_a_configured_profile_decides_as_the_plain_scheduler_does",),
    "scheduling/test_node_resources_scoring": ("test_columns_score_as_one_node_at_a_time",),
    "scheduling/test_volume_plugins": ("test_columns_say_what_the_plain_scheduler_says",),
    "scheduling/test_default_preemption": (
        "test_victims_and_their_node_are_those_of_the_plain_scheduler",
        "test_adding_and_subtracting_finds_the_victims_that_asking_every_plugin_finds",
    ),
}
"""By the test's module: properties of one seed."""
MOST_FAILURES = 20


def properties(only: str) -> Iterator[tuple[str, Callable[..., None]]]:
    """Each property as a function of its seed, by its name."""
    for name, tests in PROPERTIES.items():
        module = load(FOLDER / f"{name}.py")
        for test in tests:
            if only in test:
                yield test, getattr(module, test).hypothesis.inner_test


def load(path: Path) -> ModuleType:
    """A module of tests, which belong to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def failures(test: Callable[..., None], first: int, cases: int) -> int:
    """Try the property on that many seeds; how many of them it does not hold for."""
    strategies = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
    takes_strategy = "type" in inspect.signature(test).parameters
    failed = 0
    for seed in range(first, first + cases):
        try:
            if takes_strategy:
                test(seed, strategies[seed % 3])
            else:
                test(seed)
        except Exception:
            failed += 1
            print(f"  seed {seed}: {traceback.format_exc(limit=-2)}", flush=True)
            if failed == MOST_FAILURES:
                break
    return failed


def main() -> int:
    """Print a line for each property; 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=int, nargs="?", default=100_000)
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED")
    parser.add_argument("--only", default="", metavar="PART-OF-A-NAME")
    options = parser.parse_args()
    worst = 0
    for name, test in properties(options.only):
        started = time.process_time()
        failed = failures(test, options.first, options.cases)
        worst = max(worst, failed)
        took = time.process_time() - started
        print(f"{name}: {options.cases} cases, {failed} failed, {took:.0f} s CPU", flush=True)
    return bool(worst)


if __name__ == "__main__":
    raise SystemExit(main())
