"""A controller can be read in one sitting."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path
from types import ModuleType

MOST = 600


def _load() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "controller_lines.py"
    spec = importlib.util.spec_from_file_location("controller_lines", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_code_counts() -> None:
    text = '"""What."""\n\n# why\ndef add(a, b):\n    """Sum."""\n    return (\n        a + b  # both\n    )\n'
    assert _load().code_lines(text) == 4


def test_controllers_are_no_larger_than_they_should_be() -> None:
    by_controller, _ = _load().measure()
    assert len(by_controller) == 49
    too_large = {name: lines for name, lines in by_controller.items() if lines > MOST}
    assert not too_large
    assert statistics.median(by_controller.values()) < 200
