"""Webhooks and others over HTTP while time is virtual: it stands still until they have answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from keelback.apimachinery.errors import StatusError
from keelback.testing.cluster import Cluster
from keelback.testing.webhooks import WebhookServer

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
}
CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly"},
    "spec": {
        "schedule": "0 0 * * *",
        "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
        },
    },
}


class SlowAnswers:
    """Answers of a webhook server that come when they are let go, or some real time later."""

    def __init__(self, server: WebhookServer) -> None:
        self.let_go = threading.Event()
        self.seconds = 0.2
        self._mark = server.answers["mark"]
        server.answers["slow"] = self.answer

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.let_go.wait(self.seconds)
        return self._mark(request)


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as made:
        yield made


@pytest.fixture
def slow(server: WebhookServer) -> Iterator[SlowAnswers]:
    made = SlowAnswers(server)
    yield made
    made.let_go.set()


def _configuration(server: WebhookServer, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "slow"},
        "webhooks": [server.webhook("slow", "/pods", **more)],
    }


@pytest.mark.usefixtures("slow")
def test_time_stands_still_while_a_webhook_is_asked(server: WebhookServer) -> None:
    with Cluster() as cluster:
        cluster.apply(_configuration(server, timeoutSeconds=1, failurePolicy="Fail"))
        before = cluster.now
        cluster.apply(POD)
        assert (cluster.now - before).total_seconds() < 0.01
        assert cluster.get("pod/web")["metadata"]["labels"] == {"marked": "yes"}
        cluster.wait("pod/web", "Ready", timeout=1)


@pytest.mark.usefixtures("slow")
def test_a_webhook_is_asked_about_what_happens_while_days_pass(server: WebhookServer) -> None:
    with Cluster() as cluster:
        cluster.apply(_configuration(server, timeoutSeconds=1, failurePolicy="Fail"))
        cluster.apply(CRON_JOB)
        cluster.advance(days=2)
        made = {pod["metadata"]["creationTimestamp"][10:]: pod["metadata"]["labels"] for pod in cluster.list("pods")}
        assert list(made) == ["T00:00:00Z"]
        assert made["T00:00:00Z"]["marked"] == "yes"


def test_a_webhook_that_does_not_answer_is_given_up_after_its_timeout(server: WebhookServer, slow: SlowAnswers) -> None:
    slow.seconds = 60.0
    with Cluster() as cluster:
        cluster.apply(_configuration(server, timeoutSeconds=1, failurePolicy="Fail"))
        before = cluster.now
        with pytest.raises(StatusError, match="context deadline exceeded"):
            cluster.apply(POD)
        assert 1.0 <= (cluster.now - before).total_seconds() < 1.1
        # TLS waits half a minute for the other side's good-bye.
        cluster.advance(minutes=1)


def test_a_scheduler_extender_is_asked_while_time_stands_still() -> None:
    asked: list[str] = []
    answers = threading.Event()

    class Extender(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            answers.wait(0.2)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            answer = b'{"nodenames":["node-1"]}'
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Extender)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
    thread.start()
    try:
        with Cluster(scheduler_configuration=_with_extender(listening.server_address[1])) as cluster:
            before = cluster.now
            cluster.apply(POD)
            cluster.wait("pod/web", "Ready", timeout=5)
            assert cluster.get("pod/web")["spec"]["nodeName"] == "node-1"
            assert (cluster.now - before).total_seconds() < 1
    finally:
        answers.set()
        listening.shutdown()
        thread.join()
        listening.server_close()
    assert asked == ["/filter"]


def _with_extender(port: int) -> str:
    return f"""
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
extenders:
- urlPrefix: http://127.0.0.1:{port}
  filterVerb: filter
  nodeCacheCapable: true
  httpTimeout: 0.5s
"""
