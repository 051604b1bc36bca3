"""The behaviours that Kubernetes' conformance suite demands of 1.36, and our tests that show each of them.

The YAML files beside this one hold them, by upstream's names: under each a list of tests (`tests/FILE.py::NAME`), or a
sentence that says why there is none. `python tests/conformance/test_table.py` writes `docs/conformance.md` from them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "conformance.md"
AREAS: Final = ("api-machinery", "apps", "network", "node", "storage", "others")
BEHAVIOURS: Final = 446

Answer = list[str] | str | None
"""The tests of a behaviour, or why it has none; None while nobody has looked."""


@cache
def answers(area: str) -> dict[str, Answer]:
    found: dict[str, Answer] = yaml.safe_load((Path(__file__).parent / f"{area}.yaml").read_text())
    return found


@cache
def functions_in(file: str) -> frozenset[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def page() -> str:
    """The whole of `docs/conformance.md`."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    shown = {area: sum(isinstance(one, list) for one in answers(area).values()) for area in AREAS}
    yield "# Conformance"
    yield ""
    yield f"Of the {BEHAVIOURS} behaviours that Kubernetes' conformance suite demands of 1.36 our tests show"
    yield f"{sum(shown.values())}."
    yield "The suite itself is a Go program; this is our own reading of what it demands, under its own names."
    yield "`python tests/conformance/test_table.py` writes this page from the lists in `tests/conformance`."
    for area in AREAS:
        yield ""
        yield f"## {area.replace('-', ' ').capitalize()}: {shown[area]} of {len(answers(area))}"
        yield ""
        yield "| behaviour | shown by |"
        yield "|---|---|"
        for name, answer in answers(area).items():
            yield f"| {name.replace('|', chr(92) + '|')} | {_cell(answer)} |"


def _cell(answer: Answer) -> str:
    if answer is None:
        return "not looked at yet"
    if isinstance(answer, str):
        return answer
    return "<br>".join(f"[{name}](../{file})" for file, _, name in (one.partition("::") for one in answer))


def test_every_behaviour_of_the_suite_is_listed_once() -> None:
    names = [name for area in AREAS for name in answers(area)]
    assert len(names) == len(set(names)) == BEHAVIOURS


@pytest.mark.parametrize("area", AREAS)
def test_the_tests_that_are_named_exist(area: str) -> None:
    for answer in answers(area).values():
        if isinstance(answer, list):
            assert answer
            for one in answer:
                file, _, name = one.partition("::")
                assert name in functions_in(file), one


def test_the_page_says_what_the_lists_say() -> None:
    assert PAGE.read_text() == page(), "run python tests/conformance/test_table.py"


if __name__ == "__main__":
    PAGE.write_text(page())
