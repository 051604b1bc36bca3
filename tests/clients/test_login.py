"""Logging in as EKS does it: kubectl runs `aws eks get-token`, which signs offline, and a webhook judges the token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import yaml

from keelback.bootstrap.pki import ClusterPKI
from keelback.testing import clients
from keelback.testing.access_servers import ReviewServer, authority, serving, webhook_kubeconfig
from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(300)]
SECRETS = {"AKIAJANE": "jane's secret", "AKIAJOE": "joe's secret"}
USERS = {"AKIAJANE": ("jane", ["aws:admins"]), "AKIAJOE": ("joe", [])}
CLUSTER_ID = "demo"
REGION = "eu-west-1"
_PREFIX = "k8s-aws-v1."


def judged(review: dict[str, Any]) -> dict[str, Any]:
    """As aws-iam-authenticator: the token is a signed request to STS; who signed it, for this cluster, is who it is.

    STS would know the secret key; here the list above does, so that nothing leaves the machine.
    """
    token: str = review["spec"]["token"]
    if not token.startswith(_PREFIX):
        return {"authenticated": False}
    encoded = token.removeprefix(_PREFIX)
    url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    key = query["X-Amz-Credential"].split("/")[0]
    begun = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if query["X-Amz-SignedHeaders"] != "host;x-k8s-aws-id":
        return {"authenticated": False, "error": "the cluster is not signed"}
    if datetime.now(UTC) > begun + timedelta(minutes=15):
        return {"authenticated": False, "error": "it is too old"}
    if not hmac.compare_digest(query["X-Amz-Signature"], signature(url.netloc, query, SECRETS.get(key, ""))):
        return {"authenticated": False, "error": "the signature is wrong"}
    name, groups = USERS[key]
    return {"authenticated": True, "user": {"username": name, "uid": f"aws:{key}", "groups": groups}}


def signature(host: str, query: dict[str, str], secret: str) -> str:
    """AWS Signature Version 4 of the request that asks STS who one is."""
    _, day, region, service, terminator = query["X-Amz-Credential"].split("/")
    listed = sorted((quote(key, safe="-_.~"), quote(value, safe="-_.~")) for key, value in query.items())
    canonical = "\n".join(
        (
            "GET",
            "/",
            "&".join(f"{key}={value}" for key, value in listed if key != "X-Amz-Signature"),
            f"host:{host}\nx-k8s-aws-id:{CLUSTER_ID}\n",
            query["X-Amz-SignedHeaders"],
            hashlib.sha256(b"").hexdigest(),
        )
    )
    scope = f"{day}/{region}/{service}/{terminator}"
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, terminator):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@contextmanager
def beside(server: ReviewServer, pki: ClusterPKI) -> Iterator[None]:
    """Run the webhook in a thread of its own, since clients are waited for here."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def main() -> None:
        async with serving(server, pki):
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, ReviewServer]]:
    """A cluster that asks the webhook about tokens."""
    folder = tmp_path_factory.mktemp("login")
    pki = authority(folder / "webhook")
    server = ReviewServer(judged)
    with beside(server, pki):
        config = webhook_kubeconfig(folder / "webhook.conf", f"{server.url}/authenticate", pki)
        made = Cluster(f"clients-login-{os.getpid()}", folder)
        flags = (f"authentication-token-webhook-config-file={config}", "authentication-token-webhook-version=v1")
        try:
            arguments = [part for flag in flags for part in ("--kube-apiserver-arg", flag)]
            made.keelback("up", "--simulated", *arguments)
            made.kubectl("create", "clusterrolebinding", "admins", "--clusterrole=view", "--group=aws:admins")
            yield made, server
        finally:
            made.keelback("down")


def logged_in(cluster: Cluster, key: str, *, secret: str = "", name: str = CLUSTER_ID) -> Cluster:
    """The cluster, spoken to by somebody who has an access key: the kubeconfig that `aws eks` writes."""
    aws = clients.python("aws", "awscli").parent / "aws"
    tree = yaml.safe_load((cluster.folder / "kubeconfig").read_text())
    user = tree["contexts"][0]["context"]["user"]
    variables = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret or SECRETS[key],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": str(aws),
        "args": ["--region", REGION, "eks", "get-token", "--cluster-name", name, "--output", "json"],
        "env": [{"name": variable, "value": value} for variable, value in variables.items()],
        "interactiveMode": "Never",
    }
    tree["users"] = [{"name": user, "user": {"exec": plugin}}]
    path = cluster.folder / f"{key}-{name}-{bool(secret)}.kubeconfig"
    path.write_text(yaml.safe_dump(tree))
    return Cluster(cluster.name, cluster.folder, cluster.program, variables={"KUBECONFIG": str(path)})


def test_a_signed_token_is_its_user(cluster: tuple[Cluster, ReviewServer]) -> None:
    administrator, webhook = cluster
    jane = logged_in(administrator, "AKIAJANE")
    info = json.loads(jane.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (info["username"], info["uid"]) == ("jane", "aws:AKIAJANE")
    assert info["groups"] == ["aws:admins", "system:authenticated"]
    assert "kube-system" in jane.kubectl("get", "namespaces")
    assert jane.kubectl("auth", "can-i", "delete", "pods", may_fail=True) == "no\n"
    assert webhook.asked
    assert all(one["kind"] == "TokenReview" for one in webhook.asked)


def test_who_has_no_rights_is_told_so_by_name(cluster: tuple[Cluster, ReviewServer]) -> None:
    joe = logged_in(cluster[0], "AKIAJOE")
    said = joe.kubectl("get", "namespaces", may_fail=True)
    assert 'User "joe" cannot list resource "namespaces"' in said


@pytest.mark.parametrize(("secret", "name"), [("not hers", CLUSTER_ID), ("", "another-cluster")])
def test_a_token_that_is_forged_or_for_another_cluster_is_nobodys(
    cluster: tuple[Cluster, ReviewServer], secret: str, name: str
) -> None:
    somebody = logged_in(cluster[0], "AKIAJANE", secret=secret, name=name)
    assert "You must be logged in to the server" in somebody.kubectl("get", "namespaces", may_fail=True)


def test_programs_log_in_the_same_way(cluster: tuple[Cluster, ReviewServer], tmp_path: Path) -> None:
    """The Python client runs the same plugin."""
    jane = logged_in(cluster[0], "AKIAJANE")
    python = clients.python("kubernetes", "kubernetes==37.*")
    program = tmp_path / "list.py"
    program.write_text(
        "from kubernetes import client, config\n"
        "config.load_kube_config()\n"
        "print([one.metadata.name for one in client.CoreV1Api().list_namespace().items])\n"
    )
    assert "kube-system" in jane.run([str(python), str(program)])
