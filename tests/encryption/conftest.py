"""A configuration file, and a KMS plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.testing.encryption import Config, KMSPlugin


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "encryption.json")


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[KMSPlugin]:
    made = KMSPlugin(tmp_path)
    made.start()
    yield made
    made.stop()
