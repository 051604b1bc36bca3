"""Owners that are named twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery.meta import ObjectMeta, OwnerReference
from keelback.apiserver.owner_references import without_repeated
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

PATH = "/api/v1/namespaces/default/configmaps"
TOLD = (
    "; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your "
    "requests; duplicate UID(s) observed: u"
)


def owner(uid: str = "u", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid, **more}


def test_each_owner_is_kept_once_and_the_writer_is_warned() -> None:
    async def main() -> None:
        async with api_server() as api:

            async def ask(method: str, path: str, body: Any, kind: str = "application/json") -> tuple[Any, str]:
                data = json.dumps(body).encode()
                answer = await api.handle(
                    Request(method, path, "", {"content-type": kind}, data, identity=ADMINISTRATOR)
                )
                assert isinstance(answer, Response)
                made = json.loads(answer.content())
                return made["metadata"]["ownerReferences"], str(answer.headers.get("warning", ""))

            twice = [owner(), owner("v"), owner()]
            body = {"metadata": {"name": "a", "ownerReferences": twice}}
            warned = f'299 - ".metadata.ownerReferences contains duplicate entries{TOLD}"'
            assert await ask("POST", PATH, body) == (twice[:2], warned)
            assert await ask("PUT", f"{PATH}/a", body) == (twice[:2], warned)
            references = {"metadata": {"ownerReferences": twice}}
            admitted = '299 - ".metadata.ownerReferences contains duplicate entries after mutating admission happens'
            merge = "application/merge-patch+json"
            assert await ask("PATCH", f"{PATH}/a", references, merge) == (twice[:2], f'{admitted}{TOLD}"')

    asyncio.run(main())


def test_references_that_differ_in_anything_are_two() -> None:
    first = OwnerReference(api_version="v1", kind="Node", name="n", uid="u")
    second = OwnerReference(api_version="v1", kind="Node", name="n", uid="u", controller=True)
    obj = ConfigMap(metadata=ObjectMeta(owner_references=(first, second)))
    told: list[str] = []
    assert without_repeated(obj, told.append) is obj
    assert not told
