"""`keelback envtest path`: a folder with the programs that controller-runtime's envtest looks for."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Final

_PROGRAMS: Final = ("kube-apiserver", "etcd")
_MODULE: Final = "keelback.testing.envtest"


def path() -> int:
    """Make the folder, and print it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "keelback" / "envtest"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PROGRAMS:
        _write(folder / name, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {_MODULE} {name} "$@"\n')
    print(folder)
    return 0


def _write(file: Path, text: str) -> None:
    if file.exists() and file.read_text() == text:
        return
    # Another suite may start the program at this moment: it finds the old one or the new one, whole.
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(file)
