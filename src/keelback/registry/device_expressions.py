"""Whether an expression chooses devices: asked before it is stored."""

from __future__ import annotations

from keelback.scheduling import device_selectors
from keelback.scheduling.device_selectors import SelectorError


def problem(expression: str) -> str:
    """Why an expression chooses no devices; nothing if it does."""
    try:
        device_selectors.compiled(expression)
    except SelectorError as error:
        return str(error)
    return ""
