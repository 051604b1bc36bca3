"""What stands in the columns of custom resources."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keelback.registry import custom_resource_columns
from keelback.registry.custom_resource_paths import MISSING

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("string", "a", "a"),
        ("string", 3, "3"),
        ("string", True, "true"),
        ("string", [{"a": 1}], '[{"a":1}]'),
        ("integer", 3, 3),
        ("integer", 2.75, 2),
        ("integer", "3", None),
        ("integer", True, None),
        ("number", 2.5, 2.5),
        ("boolean", False, False),
        ("boolean", "true", None),
        ("date", "2026-01-01T11:59:00Z", "60s"),
        ("date", "2026-01-01T13:59:00.5+02:00", "59s"),
        ("date", "2026-01-01", "<invalid>"),
        ("date", "yesterday", "<invalid>"),
        ("date", "", "<unknown>"),
        ("date", 5, None),
        ("string", MISSING, None),
    ],
)
def test_values_as_cells(kind: str, value: Any, shown: Any) -> None:
    assert custom_resource_columns.cell(value, kind, NOW) == shown
