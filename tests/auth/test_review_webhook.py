"""What passes is tried again, what does not is told; the server is a real one."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from keelback.auth.review_webhook import ReviewFailed, ReviewWebhook, in_cluster_access
from keelback.client import kubeconfig
from keelback.client.kubeconfig import KubeconfigError
from keelback.component.http import Response
from keelback.testing.access_servers import ReviewServer, authority, serving, webhook_kubeconfig
from keelback.testing.clock import HandClock


async def asked(server: ReviewServer, folder: Path, *, path: str = "/authorize", seconds: float = 30.0) -> Any:
    """The answer of a webhook there, while time passes as fast as it is waited for."""
    pki = authority(folder)
    clock = HandClock()
    async with asyncio.timeout(30), serving(server, pki):
        access = kubeconfig.load(webhook_kubeconfig(folder / "webhook.conf", server.url + path, pki))
        webhook = ReviewWebhook(access, "g/v1", "Review", clock, random.Random(1), seconds)
        answer = asyncio.create_task(webhook.ask({"a": 1}))
        while not answer.done():
            await asyncio.sleep(0)
            clock.advance(0.1)
        await webhook.close()
        return await answer


def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    codes = [429, 500, 504]
    server = ReviewServer(lambda review: Response(codes.pop(0)) if codes else {"ok": True})
    assert asyncio.run(asked(server, tmp_path)) == {"ok": True}
    assert server.asked == [{"kind": "Review", "apiVersion": "g/v1", "spec": {"a": 1}}] * 4


@pytest.mark.parametrize(
    ("answer", "said", "times"),
    [
        (Response(500, {"content-type": "text/plain"}, b"down"), 'an error on the server ("down") has prevented', 5),
        (Response(403, {"content-type": "text/plain"}, b"not you"), "not you", 1),
        (Response(404), "the server could not find the requested resource", 1),
        (Response(200, {}, b"<html>"), "couldn't get version/kind; json parse error", 1),
        (Response(200, {}, b'{"kind":"Other"}'), 'the answer is a "Other" of "None", not a Review of g/v1', 1),
        (Response(400, {}, b'{"kind":"Status","message":"in words"}'), "in words", 1),
        (None, "context deadline exceeded", 1),
    ],
)
def test_what_does_not_is_told(tmp_path: Path, answer: Response | None, said: str, times: int) -> None:
    server = ReviewServer(lambda review: answer)
    with pytest.raises(ReviewFailed) as failed:
        asyncio.run(asked(server, tmp_path, seconds=0.05 if answer is None else 30.0))
    assert said in str(failed.value)
    assert len(server.asked) == times


def test_the_exact_address_is_asked(tmp_path: Path) -> None:
    for path in ("", "/", "/a/b", "/a/b/"):
        assert asyncio.run(asked(ReviewServer(lambda review: {}), tmp_path, path=path)) == {}


@pytest.mark.parametrize("user", [{"username": "a", "password": "b"}, {"exec": {"command": "x"}}, {"as": "admin"}])
def test_what_would_be_passed_over_is_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    pki = authority(tmp_path)
    access = kubeconfig.load(webhook_kubeconfig(tmp_path / "webhook.conf", "https://a", pki, **user))
    with pytest.raises(KubeconfigError, match="is not supported for a webhook"):
        ReviewWebhook(access, "g/v1", "Review", HandClock(), random.Random(1))


def test_the_webhook_sees_who_asks(tmp_path: Path) -> None:
    """The user of the kubeconfig is the API server: here by a token."""

    async def main() -> None:
        pki = authority(tmp_path)
        server = ReviewServer(lambda review: {})
        async with asyncio.timeout(30), serving(server, pki):
            file = webhook_kubeconfig(tmp_path / "webhook.conf", server.url, pki, token="me")
            webhook = ReviewWebhook(kubeconfig.load(file), "g/v1", "Review", HandClock(), random.Random(1))
            assert await webhook.ask({}) == {}
            await webhook.close()
        assert server.bearers == ["Bearer me"]

    asyncio.run(main())


def test_who_is_not_in_a_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeconfigError, match="unable to load in-cluster configuration"):
        in_cluster_access()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    server = in_cluster_access().cluster["server"]
    assert server == "https://[fd00::1]:443/apis/authorization.k8s.io/v1/subjectaccessreviews"
