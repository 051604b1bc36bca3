"""A suite in any language has a cluster while it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keelback.testing import with_cluster

SUITE = """
import os, sys, pathlib
from keelback.client import kubeconfig
import asyncio
from keelback.api.core_v1 import ConfigMap, Node
from keelback.client import Client


async def main():
    client = Client(kubeconfig.transport(kubeconfig.load(pathlib.Path(os.environ["KUBECONFIG"]))))
    nodes = await client.list(Node)
    settings = await client.get(ConfigMap, "settings", "default")
    await client.close()
    sys.exit(len(nodes.items) + int(settings.data["more"]))


asyncio.run(main())
"""


def test_a_command_finds_its_cluster_and_its_status_is_passed_on(tmp_path: Path) -> None:
    objects = tmp_path / "settings.yaml"
    objects.write_text('{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {more: "40"}}')
    argv = ["--nodes", "2", "--apply", str(objects), "--", sys.executable, "-c", SUITE]
    assert with_cluster.main(argv) == 42


def test_what_cannot_be_run_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert with_cluster.main(["--api-only", "--", "/no/such/suite"]) == 127
    assert "/no/such/suite: No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        with_cluster.main(["--kubernetes-version", "1.2", "--", "true"])
    with pytest.raises(SystemExit):
        with_cluster.main(["--stages", "{kind: Stage, apiVersion: kwok.x-k8s.io/v1alpha1}", "--", "true"])
