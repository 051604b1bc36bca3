"""Where tags are in an HTML document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import accumulate


def start_tags(text: str) -> Iterator[tuple[int, str, str]]:
    """The offset, name and text of each start tag."""
    parser = _StartTags()
    # It gives up by AssertionError at declarations that HTML does not have: links behind one stay as they are.
    with contextlib.suppress(AssertionError):
        parser.feed(text)
        parser.close()
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    for line, column, tag, raw in parser.found:
        yield lines[line - 1] + column, tag, raw


class _StartTags(HTMLParser):
    """Where start tags are. The parser knows what is script, comment or text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[int, int, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line, column = self.getpos()
        self.found.append((line, column, tag, self.get_starttag_text() or ""))
