"""`keelback sim`: a scenario file carried out in virtual time, and its report."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from keelback.bootstrap import simulated_time
from keelback.component import logs
from keelback.testing import scenario, scenario_report, scenario_run
from keelback.testing.cluster import Cluster


def parser() -> argparse.ArgumentParser:
    """The scenario, and what becomes of it."""
    made = argparse.ArgumentParser(prog="keelback sim", description=__doc__)
    made.add_argument("file", type=Path, help="the scenario (docs/simulations.md)")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report as HTML")
    made.add_argument("--svg", type=Path, metavar="FOLDER", help="write each chart as SVG")
    made.add_argument("--seed", type=int, help="another one than the scenario's")
    made.add_argument(
        "--stages", type=Path, action="append", default=[], metavar="FILE", help="KWOK's Stages, a file or folder"
    )
    made.add_argument(
        "--speed",
        type=_speed,
        default=0.0,
        metavar="N",
        help="let time pass so many times as fast as the machine's, such as 100x, and let others look at the cluster "
        "meanwhile (default: as fast as it goes, and for itself)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one scenario; its exit status."""
    given = parser().parse_args(argv)
    # What components say of a node that is cut off, again and again, is no news to who cut it off.
    logs.configure(level=logging.ERROR)
    try:
        wanted = scenario.read(given.file, seed=given.seed, stages=[path.absolute() for path in given.stages])
        began = time.monotonic()
        begun = _say_where if given.speed else _say_nothing
        outcome = scenario_run.run(wanted, _progress(wanted.duration), speed=given.speed, begun=begun)
    except (scenario.ScenarioError, OSError) as error:
        print(f"keelback sim: {error}", file=sys.stderr)
        return 1
    simulated, real = scenario_report.clock(wanted.duration), time.monotonic() - began
    print(f"{simulated} of simulated time on {len(wanted.nodes)} nodes, in {real:.1f} s")
    print("\n".join(scenario_report.text(outcome)))
    if given.output is not None:
        given.output.write_text(scenario_report.page(given.file.stem, wanted, outcome))
        print(f"The report is {given.output}")
    if given.svg is not None:
        given.svg.mkdir(parents=True, exist_ok=True)
        for name, svg in scenario_report.charts(outcome).items():
            (given.svg / f"{name}.svg").write_text(svg)
    return 0


def _speed(text: str) -> float:
    try:
        return simulated_time.parse_speed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _say_where(cluster: Cluster) -> None:
    print(f"export KUBECONFIG={cluster.kubeconfig()}", flush=True)


def _say_nothing(_cluster: Cluster) -> None:
    """Who goes as fast as it goes has no time for others."""


def _progress(duration: float) -> scenario_run.Progress:
    def say(seconds: float) -> None:
        if sys.stderr.isatty():
            end = "\n" if seconds >= duration else ""
            print(f"\r{scenario_report.clock(seconds)} of {scenario_report.clock(duration)}", end=end, file=sys.stderr)

    return say


if __name__ == "__main__":
    sys.exit(main())
