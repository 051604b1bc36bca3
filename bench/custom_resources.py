"""Many CustomResourceDefinitions: memory and time of each, discovery with all of them, and one that is very large.

    python bench/custom_resources.py [definitions]

The definitions have a schema of some 20 KB each, as operators' do, and a group for every ten. Time is CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from keelback.component import event_loop
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
AGGREGATED = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"


def schema(fields: int) -> dict[str, Any]:
    """Objects of some fields, with descriptions, patterns, defaults and rules."""
    text = "What the operator shall make of it; see the documentation of the operator for what it may be."
    part = {
        "type": "object",
        "description": text,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": text, "maxLength": 63, "pattern": "^[a-z][-a-z0-9]*$"},
            "size": {"type": "integer", "format": "int32", "default": 1, "minimum": 0},
            "tags": {"type": "array", "maxItems": 16, "items": {"type": "string", "maxLength": 32}},
        },
        "x-kubernetes-validations": [{"rule": "self.size < 100 || self.name.startsWith('big')", "message": "too big"}],
    }
    properties = {f"part{number}": part for number in range(fields)}
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def definition(number: int, fields: int) -> bytes:
    group, plural = f"g{number // 10}.example.com", f"things{number}"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema(fields)}}
    names = {"plural": plural, "kind": f"Thing{number}"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return json.dumps({**head, "metadata": {"name": f"{plural}.{group}"}, "spec": spec}).encode()


def resident() -> float:
    """The process's memory, in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


async def main(count: int) -> None:
    async with api_server() as api:

        async def ask(method: str, path: str, body: bytes = b"", accept: str = "") -> Response:
            headers = {"content-type": "application/json", "accept": accept}
            answer = await api.handle(Request(method, path, "", headers, body, identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            return answer

        async def define(number: int, fields: int) -> tuple[float, int]:
            body = definition(number, fields)
            started = time.process_time()
            answer = await ask("POST", DEFINITIONS, body)
            assert answer.status == 201, answer.content()
            path = f"/apis/g{number // 10}.example.com/v1/things{number}"
            async with asyncio.timeout(60):
                while (await ask("GET", path)).status != 200:  # noqa: ASYNC110 - it is one round of the loop
                    await asyncio.sleep(0)
            return time.process_time() - started, len(body)

        await define(0, 40)
        before, times = resident(), []
        for number in range(1, count + 1):
            spent, size = await define(number, 40)
            times.append(spent * 1000)
        tenth = max(1, count // 10)
        print(f"{count} definitions of {size / 1000:.0f} KB: {(resident() - before) / count:.2f} MB each")
        first, last = sum(times[:tenth]) / tenth, sum(times[-tenth:]) / tenth
        print(f"created until served: {first:.1f} ms each of the first tenth, {last:.1f} ms of the last")
        for name, path, accept in (
            ("aggregated discovery", "/apis", AGGREGATED),
            ("/apis", "/apis", ""),
            ("index of OpenAPI v3", "/openapi/v3", ""),
        ):
            for round_ in ("first", "again"):
                started = time.process_time()
                answer = await ask("GET", path, accept=accept)
                length = len(answer.content()) / 1000
                print(f"{name}, {round_}: {(time.process_time() - started) * 1000:.1f} ms, {length:.0f} KB")
        spent, size = await define(100_000, 1_350)
        print(f"one of {size / 1000:.0f} KB with 1,350 rules: created until served in {spent * 1000:.0f} ms")


if __name__ == "__main__":
    event_loop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
