"""CPU per request of the API server in this process: without and with auditing, without and with encryption at rest.

    python bench/audit_encryption.py [requests]

Requests go through the whole pipeline but for HTTP and TLS; the store is in memory, the audit log a real file. The
least of five rounds counts, so that other load on the machine matters little.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from keelback.audit.options import AuditOptions
from keelback.component.http import Request, Response
from keelback.encryption.options import EncryptionSettings
from keelback.testing.api import ADMINISTRATOR, api_server

SECRETS = "/api/v1/namespaces/default/secrets"
KEY = base64.b64encode(bytes(32)).decode()
ROUNDS = 5


def secret(name: str) -> bytes:
    """A secret of about a kilobyte."""
    data = {f"key-{number}": base64.b64encode(b"x" * 150).decode() for number in range(4)}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}).encode()


async def measure(what: str, requests: int, **settings: Any) -> None:
    async with api_server(**settings) as server:

        async def ask(method: str, path: str, body: bytes = b"") -> None:
            answer = await server.handle(
                Request(method, path, "", {"content-type": "application/json"}, body, identity=ADMINISTRATOR)
            )
            assert isinstance(answer, Response)
            assert answer.status < 300, answer.content()

        creates, gets = [], []
        for round_number in range(ROUNDS):
            bodies = [secret(f"s-{round_number}-{number}") for number in range(requests)]
            started = time.process_time()
            for body in bodies:
                await ask("POST", SECRETS, body)
            creates.append(time.process_time() - started)
            started = time.process_time()
            for _ in range(requests):
                await ask("GET", f"{SECRETS}/s-0-0")
            gets.append(time.process_time() - started)
        microseconds = [f"{min(times) / requests * 1e6:8.1f}" for times in (creates, gets)]
        print(f"{what:44}{microseconds[0]} µs a create{microseconds[1]} µs a get")


async def main(requests: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def audit(level: str) -> AuditOptions:
            rules = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": level}]}
            (folder / level).write_text(json.dumps(rules))
            return AuditOptions(audit_policy_file=str(folder / level), audit_log_path=str(folder / "audit.log"))

        def encryption(cipher: str) -> EncryptionSettings:
            provider = {cipher: {"keys": [{"name": "one", "secret": KEY}]}}
            rule = {"resources": ["secrets"], "providers": [provider]}
            head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
            (folder / cipher).write_text(json.dumps({**head, "resources": [rule]}))
            return EncryptionSettings(str(folder / cipher))

        await measure("neither", requests)
        for level in ("None", "Metadata", "RequestResponse"):
            await measure(f"audit, level {level}, log", requests, audit=audit(level))
        for cipher in ("aescbc", "aesgcm", "secretbox"):
            await measure(f"encryption by {cipher}", requests, encryption=encryption(cipher))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
