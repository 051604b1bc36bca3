"""Encryption at rest in tests: configuration files, and a KMS plugin that runs as a process of its own."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.encryption.at_rest import AtRest
from keelback.encryption.config import GroupResource
from keelback.encryption.metrics import EncryptionMetrics
from keelback.encryption.options import EncryptionSettings
from keelback.encryption.store import Locate
from keelback.storage.protocol import Store


def key(cipher: str, name: str, fill: bytes = b"k") -> dict[str, Any]:
    """A provider with one key."""
    return {cipher: {"keys": [{"name": name, "secret": base64.b64encode(fill * 32).decode()}]}}


IDENTITY: dict[str, Any] = {"identity": {}}


class Config:
    """The configuration file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> EncryptionSettings:
        """Have these resources encrypted so."""
        self.write_rules({"resources": list(resources), "providers": list(providers)})
        return EncryptionSettings(str(self.path), reloads=True)

    def write_rules(self, *rules: dict[str, Any]) -> EncryptionSettings:
        head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
        self.path.write_text(json.dumps({**head, "resources": rules}))
        return EncryptionSettings(str(self.path), reloads=True)


def _resource(key: str) -> GroupResource | None:
    """The resource of a key: its folder, as the core group has them."""
    return GroupResource("", key.split("/")[2]) if key.startswith("/registry/") else None


def at_rest(
    store: Store,
    settings: EncryptionSettings,
    clock: Clock,
    metrics: Registry | None = None,
    locate: Locate = _resource,
) -> AtRest:
    """Encryption at rest over a store, by itself."""
    counted = EncryptionMetrics(metrics or Registry(), clock)
    return AtRest(store, settings, locate, clock, random.Random(0), counted)


class KMSPlugin:
    """A plugin's process."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "kms.sock"
        self.keys = folder / "kms.keys"
        self.keys.write_text("first one\n")
        self._process: subprocess.Popen[str] | None = None

    @property
    def provider(self) -> dict[str, Any]:
        """The provider that it is."""
        return {"kms": {"apiVersion": "v2", "name": "plugin", "endpoint": f"unix://{self.socket}", "timeout": "2s"}}

    def start(self) -> None:
        """Begin, and return when it answers."""
        command = [sys.executable, "-m", "keelback.testing.kms_plugin", str(self.socket), str(self.keys)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """End it at once, as if it had crashed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
        self.socket.unlink(missing_ok=True)
