"""The documentation against the code: links lead somewhere, commands are taken, and what there is has its line."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest

from keelback.cli import main
from keelback.controllers import builtin

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPTS = ("$ ", "# ")
_NOT_IN_CODE = {"dashboard", "console"}
"""Words in the docs' code spans that are none of the code's: a package to come, Markdown's own."""


def _commands(page: Path) -> list[str]:
    """What a reader is told to type into a shell on this page, one command a line."""
    shown = []
    for fence in _FENCE.findall(page.read_text()):
        lines = fence.replace("\\\n", " ").splitlines()
        shown += [line[2:] for line in lines if line.startswith(_PROMPTS)]
    return shown


def _of_keelback() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), command)
        for page in PAGES
        for command in _commands(page)
        if shlex.split(command, comments=True)[:1] == ["keelback"]
    ]


def _heading_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _heading_anchors(linked), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "command"), _of_keelback())
def test_commands_of_the_docs_are_taken_by_the_parser(page: str, command: str) -> None:
    arguments = shlex.split(command, comments=True)[1:]
    for end in ("|", "&&", ">", ";"):
        if end in arguments:
            arguments = arguments[: arguments.index(end)]
    if arguments[0] in main.COMPONENTS:
        return
    known = main.parser
    if arguments[0] in main.TESTING:
        known = importlib.import_module(f"keelback.testing.{main.TESTING[arguments.pop(0)]}").parser
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            known().parse_args(arguments)
        except SystemExit as refused:
            if refused.code:
                pytest.fail(f"{page}: {command}: {said.getvalue()}")


def test_the_docs_name_commands_of_keelback() -> None:
    assert len(_of_keelback()) > 5


@pytest.mark.parametrize("name", sorted({entry.name for entry in builtin.BUILTIN}))
def test_every_controller_has_its_line(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "controllers.md").read_text()


def test_every_decision_has_a_number_of_its_own() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(record.name[:4]) for record in records]
    assert numbers == list(range(1, len(records) + 1))
    for number, record in zip(numbers, records, strict=True):
        assert re.match(rf"# (ADR )?0*{number}\b", record.read_text()), record.name


def test_every_package_has_its_place_in_the_architecture() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    packages = {init.parent.name for init in (ROOT / "src" / "keelback").glob("*/__init__.py")}
    assert {name for name in packages if not re.search(rf"\b{name}\b", architecture)} == set()


_ABOUT_CODE = [ROOT / "docs" / "architecture.md", *sorted(ROOT.glob("docs/checklists/*.md"))]


@pytest.mark.parametrize("page", _ABOUT_CODE, ids=lambda page: page.stem)
def test_files_and_names_that_guide_a_newcomer_exist(page: Path) -> None:
    code = "\n".join(module.read_text() for module in (ROOT / "src" / "keelback").rglob("*.py"))
    unknown = []
    for named in re.findall(r"`([\w./]+)(?:\([^`]*\))?`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        places = (ROOT / named, ROOT / "src" / "keelback" / named)
        word = named.rstrip("/").rpartition(".")[2].rpartition("/")[2]
        if not any(place.exists() for place in places) and not re.search(rf"\b{re.escape(word)}\b", code):
            unknown.append(named)
    assert [name for name in unknown if name not in _NOT_IN_CODE] == []


def test_every_dependency_has_its_reason() -> None:
    declared = re.findall(r'^    "([A-Za-z0-9_-]+)[>=;]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    reasons = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text().lower()
    assert declared
    assert [name for name in declared if name.lower() not in reasons and not name.startswith("types-")] == []
