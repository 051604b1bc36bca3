"""How many lines of code each controller has: without blank lines, comments and docstrings.

A controller's are those of its own file and of the files that no other controller uses; what several use is counted
apart. Run it with no arguments.
"""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from pathlib import Path

from keelback.controllers.builtin import BUILTIN

FOLDER = Path(__file__).parent.parent / "src" / "keelback" / "controllers"
_SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_PACKAGE = "keelback.controllers"
_MANAGER = frozenset({"__init__", "builtin", "config", "manager", "names"})


def code_lines(text: str) -> int:
    """The lines on which there is code."""
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else ():
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                strings.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - strings)


def uses(text: str) -> set[str]:
    """The other files of the folder that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == _PACKAGE:
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(f"{_PACKAGE}."):
            found.add(node.module.removeprefix(f"{_PACKAGE}."))
    return found


def entry_files() -> dict[str, set[str]]:
    """The files with the reconcilers of each controller, by its name."""
    names = {entry.name for entry in BUILTIN}
    found: dict[str, set[str]] = {}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "name":
                value = node.value
                if isinstance(value, ast.Constant) and value.value in names:
                    found.setdefault(str(value.value), set()).add(path.stem)
    return found


def measure() -> tuple[dict[str, int], dict[str, int]]:
    """Code lines by controller, and of the files that several use. Controllers in one file share it evenly."""
    texts = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}
    lines = {name: code_lines(text) for name, text in texts.items() if name not in _MANAGER}
    used = {name: uses(text) & lines.keys() for name, text in texts.items()}
    entries = entry_files()
    reached: dict[str, set[str]] = {}
    for controller, files in entries.items():
        seen, waiting = set(files), list(files)
        while waiting:
            new = used[waiting.pop()] - seen
            seen |= new
            waiting += new
        reached[controller] = seen
    users = {name: [one for one, seen in reached.items() if name in seen] for name in lines}
    by_controller = dict.fromkeys(entries, 0.0)
    shared: dict[str, int] = {}
    for name, number in lines.items():
        owners = [one for one, files in entries.items() if name in files] or users[name]
        if len(owners) > 1 and not any(name in files for files in entries.values()):
            shared[name] = number
            continue
        for one in owners:
            by_controller[one] += number / len(owners)
    return {one: round(number) for one, number in by_controller.items()}, shared


def main() -> None:
    by_controller, shared = measure()
    for name, number in sorted(by_controller.items(), key=lambda item: -item[1]):
        print(f"{number:5d} {name}")
    print(f"{len(by_controller)} controllers, median {statistics.median(by_controller.values()):.0f}")
    print(f"used by several: {sum(shared.values())} lines in {len(shared)} files")


if __name__ == "__main__":
    main()
