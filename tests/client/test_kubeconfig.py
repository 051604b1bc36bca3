"""The user's kubeconfig gains and loses a cluster, and keeps all else."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.client import kubeconfig
from keelback.component.http import Request, Response
from keelback.component.serving import Server, server_context

FOREIGN = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://work:6443", "extensions": [{"name": "x"}]}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
    "users": [{"name": "me", "user": {"exec": {"command": "login"}}}],
}


def tree_of(name: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": name, "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"token": "t"}}],
        "current-context": name,
    }


def test_merging_and_removing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(FOREIGN))
    asyncio.run(kubeconfig.merge(path, tree_of("kept")))
    asyncio.run(kubeconfig.merge(path, tree_of("kept")))
    merged = yaml.safe_load(path.read_text())
    assert merged["current-context"] == "kept"
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "kept"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert asyncio.run(kubeconfig.remove(path, "kept"))
    left = yaml.safe_load(path.read_text())
    assert left == {**FOREIGN, "current-context": "", "preferences": {}}
    assert not asyncio.run(kubeconfig.remove(path, "kept"))
    assert sorted(os.listdir(tmp_path)) == ["config"]


def test_a_new_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "config"
    asyncio.run(kubeconfig.merge(path, tree_of("one")))
    assert kubeconfig.load(path).cluster["server"] == "https://127.0.0.1:1"


def test_two_programs_that_change_it_at_once_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "config"

    async def both() -> None:
        await asyncio.gather(*(kubeconfig.merge(path, tree_of(name)) for name in ("a", "b", "c")))

    asyncio.run(both())
    assert sorted(entry["name"] for entry in yaml.safe_load(path.read_text())["users"]) == ["a", "b", "c"]


def test_a_file_that_is_not_a_kubeconfig_says_so(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("- a list")
    with pytest.raises(kubeconfig.KubeconfigError, match="is not a kubeconfig"):
        kubeconfig.load(path)
    path.write_text("")
    with pytest.raises(kubeconfig.KubeconfigError, match="no current context"):
        kubeconfig.load(path)
    with pytest.raises(kubeconfig.KubeconfigError, match="no context 'none'"):
        kubeconfig.load(path, "none")


def test_a_context_reaches_its_cluster_as_its_user(tmp_path: Path, authority: Any) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, b"certified" if request.peer_certificate else b"anonymous")

    async def scenario(user: dict[str, str]) -> bytes:
        tls = server_context(authority.server.certificate, authority.server.key, authority.ca)
        async with Server(handler, tls) as server:
            ca = base64.b64encode(authority.ca.read_bytes()).decode()
            cluster = {"server": f"https://127.0.0.1:{server.bound_port}", "certificate-authority-data": ca}
            tree = {
                "clusters": [{"name": "c", "cluster": cluster}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": user}],
                "current-context": "c",
            }
            transport = kubeconfig.transport(kubeconfig.access(tree))
            answer = await transport.send(Request("GET", "/"))
            await transport.close()
            return answer.content()

    files = {"client-certificate": str(authority.client.certificate), "client-key": str(authority.client.key)}
    inline = {
        "client-certificate-data": base64.b64encode(authority.client.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(authority.client.key.read_bytes()).decode(),
    }
    assert asyncio.run(scenario({})) == b"anonymous"
    assert asyncio.run(scenario(files)) == b"certified"
    assert asyncio.run(scenario(inline)) == b"certified"
