"""Why a cluster could not be started, in words for people: what failed, and what to do where that is known."""

from __future__ import annotations

import shutil
from pathlib import Path

_DISK_FULL = ("no space left", "disk is full", "disk quota exceeded")
_NEXT_TO_NOTHING_BYTES = 1 << 20


def root(error: BaseException) -> BaseException:
    """The first of those that failed together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def with_advice(text: str, data_directory: Path) -> str:
    """A failure's text and, where the disk is full, what to do about it.

    Whoever failed may say so in words of its own, or say nothing: there is no room for logs either.
    """
    if not (any(words in text.lower() for words in _DISK_FULL) or _free_bytes(data_directory) < _NEXT_TO_NOTHING_BYTES):
        return text
    return f"{text}\nThe disk of {data_directory} is full: free some of it, or choose another with --data-dir."


def _free_bytes(directory: Path) -> int:
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free
