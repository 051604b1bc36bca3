"""What is true of every write, seen through the API: here, how large an object may be."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"


def role(names: int, name: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": [name] * names}]
    meta = {"name": "a"}
    return {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta, "rules": rules}


def test_an_object_larger_than_etcd_would_take_is_refused_in_etcds_words() -> None:
    async def body() -> None:
        async with api_server() as api:

            async def ask(method: str, path: str, tree: Any = None, query: str = "") -> tuple[int, Any]:
                headers = {"content-type": "application/json"}
                sent = b"" if tree is None else msgspec.json.encode(tree)
                answer = await api.handle(Request(method, path, query, headers, sent, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                return answer.status, msgspec.json.decode(answer.content())

            refusal = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500}
            refusal["message"] = "etcdserver: request is too large"
            too_large = role(200_000, "abcdefghij")
            assert await ask("POST", ROLES, too_large) == (500, refusal)
            assert (await ask("GET", f"{ROLES}/a"))[0] == 404
            # Nothing reaches the store in a dry run, and so it cannot complain.
            assert (await ask("POST", ROLES, too_large, "dryRun=All"))[0] == 201
            # 1.7 MB as JSON, 1.3 MB in the form that Kubernetes stores.
            assert (await ask("POST", ROLES, role(420_000, "a")))[0] == 201
            assert await ask("PUT", f"{ROLES}/a", too_large) == (500, refusal)
            held = (await ask("GET", f"{ROLES}/a"))[1]
            assert len(held["rules"][0]["resourceNames"]) == 420_000

    asyncio.run(body())
