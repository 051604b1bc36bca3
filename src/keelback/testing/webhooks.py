"""A server of webhooks on the loopback, with a certificate that the cluster's authority signed."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from keelback.testing.cluster_parts import shared_pki

Tree: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[Tree], Tree]
"""From the request of a review to its response, which gets the request's uid."""

_POLL_SECONDS: Final = 0.02


class WebhookServer:
    """While it is entered, what stands at a path is asked; `asked` has the requests of the reviews, in order.

    At first `allow` allows everything, `deny` nothing, and `mark` leaves a label, `marked`.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "allow": lambda request: {"allowed": True},
            "deny": lambda request: {"allowed": False, "status": {"message": "not here"}},
            "mark": lambda request: changed(_marks(request)),
        }
        self.asked: list[tuple[str, Tree]] = []
        keys = shared_pki()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys.apiserver.certificate_path, keys.apiserver.key_path)
        self._bundle = base64.b64encode(keys.ca.certificate_pem).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, name: str) -> Tree:
        """The `clientConfig` of what stands at a path."""
        return {"url": f"https://127.0.0.1:{self._server.server_address[1]}/{name}", "caBundle": self._bundle}

    def webhook(self, name: str, *resources: str, **more: Any) -> Tree:
        """The webhook at a path: it is asked about writes of these resources, "group/plural"."""
        rules = [
            {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural]}
            | {"operations": ["CREATE", "UPDATE", "DELETE"]}
            for group, _, plural in (one.partition("/") for one in resources)
        ]
        made = {"name": f"{name}.example.com", "clientConfig": self.client(name), "rules": rules}
        return made | {"sideEffects": "None", "admissionReviewVersions": ["v1"], **more}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.path.strip("/").partition("?")[0]
                hooks.asked.append((name, review["request"]))
                given = hooks.answers[name](review["request"]) | {"uid": review["request"]["uid"]}
                body = json.dumps({key: review[key] for key in ("apiVersion", "kind")} | {"response": given}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


def changed(operations: list[Tree]) -> Tree:
    """The response that allows an object with these changes, a JSON patch."""
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def _marks(request: Tree) -> list[Tree]:
    if request["object"] is None:
        return []
    labels = request["object"]["metadata"].get("labels") or {}
    return [{"op": "add", "path": "/metadata/labels", "value": {**labels, "marked": "yes"}}]
