"""What the server makes of the smallest useful object of each kind, and how it shows it in a Table.

`kinds.yaml` says for each what is sent, what comes back (without metadata) and the cells of its row, wide ones marked
with a star. `<any>` stands for what differs from run to run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

CASES = yaml.safe_load((Path(__file__).parent / "kinds.yaml").read_text())
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
ANY = "<any>"


def differences(wanted: Any, got: Any, path: str = "") -> Iterator[str]:
    if wanted == ANY:
        return
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted({*wanted, *got}):
            if key not in wanted or key not in got:
                yield f"{path}.{key}: {'not wanted' if key in got else 'missing'}"
            else:
                yield from differences(wanted[key], got[key], f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif wanted != got or type(wanted) is not type(got):
        yield f"{path}: wanted {wanted!r}, got {got!r}"


def row_of(table: dict[str, Any]) -> dict[str, Any]:
    names = [one["name"] + ("*" if one["priority"] else "") for one in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def test_a_cluster_of_one_family_refuses_the_other_and_local_balancers_get_a_port_for_their_checks() -> None:
    async def main() -> None:
        async with api_server() as api, asyncio.timeout(30):

            async def make(name: str, **spec: Any) -> Any:
                body = json.dumps({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}).encode()
                headers = {"content-type": "application/json"}
                path = "/api/v1/namespaces/default/services"
                answer = await api.handle(Request("POST", path, "", headers, body, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                return json.loads(answer.content())

            refused = await make("six", ipFamilies=["IPv6"])
            assert refused["details"]["causes"] == [
                {
                    "reason": "FieldValueInvalid",
                    "message": 'Invalid value: "IPv6": not configured on this cluster',
                    "field": "spec.ipFamilies[0]",
                }
            ]
            assert "not configured for dual-stack" in (await make("both", ipFamilyPolicy="RequireDualStack"))["message"]
            local = await make("local", type="LoadBalancer", externalTrafficPolicy="Local")
            assert 30000 <= local["spec"]["healthCheckNodePort"] <= 32767
            assert "healthCheckNodePort" not in (await make("anywhere", type="LoadBalancer"))["spec"]

    asyncio.run(main())


def test_each_kind_gets_its_defaults_and_its_columns() -> None:
    async def main() -> list[str]:
        found: list[str] = []
        async with api_server() as api, asyncio.timeout(60):

            async def ask(method: str, path: str, body: Any = None, accept: str = "application/json") -> Any:
                headers = {"accept": accept, "content-type": "application/json"}
                data = b"" if body is None else json.dumps(body).encode()
                answer = await api.handle(Request(method, path, "", headers, data, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                return json.loads(answer.content())

            for case in CASES:
                made = await ask("POST", case["path"], case["sent"])
                what = f"{case['path']} {case['sent']['metadata']['name']}"
                if made["kind"] == "Status":
                    found.append(f"{what}: {made['message']}")
                    continue
                stored = {key: one for key, one in made.items() if key not in ("kind", "apiVersion", "metadata")}
                generation = made["metadata"].get("generation", 0)
                found.extend(f"{what} {one}" for one in differences(case["generation"], generation, "generation"))
                found.extend(f"{what} {one}" for one in differences(case["stored"], stored))
                name = case["sent"]["metadata"]["name"]
                row = row_of(await ask("GET", f"{case['path']}/{name}", accept=TABLE))
                found.extend(f"{what} {one}" for one in differences(case["row"], row, "row"))
                found.extend([f"{what}: columns are {list(row)}"] if list(row) != list(case["row"]) else [])
        return found

    assert asyncio.run(main()) == []
