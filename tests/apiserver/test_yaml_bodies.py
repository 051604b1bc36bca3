"""Large YAML bodies are read beside the event loop, and mean what small ones mean."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest

from keelback.apimachinery import yaml
from keelback.apiserver.yaml_bodies import BESIDE_THE_LOOP_BYTES
from keelback.component.http import Request, Response
from keelback.testing.api import ADMINISTRATOR, api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PADDING = "# " + "x" * BESIDE_THE_LOOP_BYTES + "\n"


def config_map(name: str, keys: int = 1) -> str:
    rows = "".join(f"  k{number}: 'yes'\n" for number in range(keys))
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{rows}"


def creation(text: str) -> Request:
    return Request("POST", CONFIG_MAPS, "", {"content-type": "application/yaml"}, text.encode(), identity=ADMINISTRATOR)


def application(name: str, text: str) -> Request:
    headers = {"content-type": "application/apply-patch+yaml"}
    query = "fieldManager=someone"
    return Request("PATCH", f"{CONFIG_MAPS}/{name}", query, headers, text.encode(), identity=ADMINISTRATOR)


def _words(status: bytes) -> bytes:
    return re.sub(rb"line \d+", b"line N", status.partition(b" (")[0])


def test_nobody_waits_until_a_large_body_is_read() -> None:
    async def body() -> None:
        finished = []
        async with api_server() as api:

            async def ask(name: str, request: Request) -> None:
                answer = await api.handle(request)
                assert isinstance(answer, Response)
                assert answer.status in (200, 201), answer.content()
                finished.append(name)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask("create", creation(config_map("one", keys=20_000))))
                tasks.create_task(ask("apply", application("two", config_map("two", keys=20_000))))
                tasks.create_task(ask("read", Request("GET", "/version", identity=ADMINISTRATOR)))
        assert finished[0] == "read"

    asyncio.run(body())


def test_nobody_waits_until_a_large_answer_is_written() -> None:
    async def body() -> None:
        finished = []
        async with api_server() as api:
            created = await api.handle(creation(config_map("one", keys=20_000)))
            assert isinstance(created, Response)

            async def ask(name: str, path: str, accept: str) -> Response:
                headers = {"accept": accept}
                answer = await api.handle(Request("GET", path, headers=headers, identity=ADMINISTRATOR))
                finished.append(name)
                assert isinstance(answer, Response)
                return answer

            async with asyncio.TaskGroup() as tasks:
                large = tasks.create_task(ask("large", f"{CONFIG_MAPS}/one", "application/yaml"))
                small = tasks.create_task(ask("small", f"{CONFIG_MAPS}/kube-root-ca.crt", "application/yaml"))
                tasks.create_task(ask("json", "/version", "application/json"))
        assert finished[-1] == "large"
        assert large.result().headers["content-type"] == small.result().headers["content-type"] == "application/yaml"
        tree, _ = yaml.load(large.result().content())
        assert tree == msgspec.json.decode(created.content())
        assert yaml.load(small.result().content())[0]["code"] == 404

    asyncio.run(body())


@pytest.mark.parametrize(
    "text",
    [
        config_map("a"),
        config_map("a") + "  k0: again\n",
        config_map("a") + "  flag: yes\n",
        "a: [\n",
        "a: &a [*a]\n",
        "[" * 201,
        "- one\n- two\n",
        "",
    ],
)
@pytest.mark.parametrize("is_applied", [False, True])
def test_size_changes_nothing_about_an_answer(text: str, is_applied: bool) -> None:
    async def answer(text: str) -> tuple[int, str, bytes]:
        async with api_server() as api:
            answered = await api.handle(application("a", text) if is_applied else creation(text))
            assert isinstance(answered, Response)
            status = answered.content() if answered.status >= 400 else b""
            return answered.status, answered.headers.get("warning", ""), status

    async def body() -> None:
        small = await answer(text)
        large = await answer(text + "\n" + PADDING)
        # What is shown of the body's beginning, and the line of the end, may differ.
        assert large[:2] == small[:2]
        assert _words(large[2]) == _words(small[2])

    asyncio.run(body())
