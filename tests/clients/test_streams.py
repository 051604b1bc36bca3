"""Proxies to pods, Services and nodes, as any HTTP client has them: redirects, links, methods, upgraded connections."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.containers, pytest.mark.timeout(120)]

SAMPLE = "localhost/keelback-sample:latest"
# Says the head of each request, or what the path asks for; `echo` is an upgrade after which bytes come back.
SCRIPT = r"""
mkdir -p /w; cat >/w/answer <<'EOF'
read -r method target rest
head="$method $target"; length=0
while read -r line; do
  line="${line%?}"; [ -z "$line" ] && break; head="$head
$line"
  case "$line" in [Cc]ontent-[Ll]ength:*) length="${line#*: }";; esac
done
case "$target" in
/echo*) printf 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'; exec cat;;
/moved) printf 'HTTP/1.1 302 Found\r\nLocation: /there/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';;
/page) printf 'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nAccess-Control-Allow-Origin: *\r\n'
  printf 'Connection: close\r\n\r\n<p>/x <a href="/x">x</a>';;
*) printf 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s\n' "$head"; head -c "$length";;
esac
EOF
nc -ll -p 8080 -e sh /w/answer
"""
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: odd, labels: {app: odd}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: IMAGE
      command: [sh, -c, SCRIPT]
      ports: [{containerPort: 8080}]
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: odd}
spec: {selector: {app: odd}, ports: [{name: web, port: 80, targetPort: 8080}, {name: none, port: 81, targetPort: 1}]}
"""


@dataclass(frozen=True)
class Door:
    """The API server, spoken to without any client library."""

    server: str
    context: ssl.SSLContext
    namespace: str

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.server, context=self.context, timeout=20)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        connection = self.connection()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def path(self, kind: str, name: str, rest: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}/{name}/proxy{rest}"


@pytest.fixture(scope="module")
def door(containers: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    namespace = "proxy"  # what follows the word in a path must not be looked for by the word
    here = containers.by(containers.program, namespace)
    here.kubectl("create", "namespace", namespace)
    text = OBJECTS.replace("IMAGE", SAMPLE).replace("SCRIPT", json.dumps(SCRIPT))
    here.kubectl("apply", "-f", "-", text=text)
    here.kubectl("wait", "pod/odd", "--for=condition=Ready", "--timeout=60s")
    shown = json.loads(here.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    cluster, user = shown["clusters"][0]["cluster"], shown["users"][0]["user"]
    files = {}
    for name in ("client-certificate-data", "client-key-data"):
        files[name] = tmp_path_factory.mktemp("keys") / name
        files[name].write_bytes(base64.b64decode(user[name]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(files["client-certificate-data"], files["client-key-data"])
    yield Door(cluster["server"].removeprefix("https://"), context, namespace)
    here.kubectl("delete", "namespace", namespace, "--wait=false")


def test_pods_and_services_are_reached_by_every_way_to_name_them(door: Door) -> None:
    for kind, name in (
        ("pods", "odd"),
        ("pods", "odd:8080"),
        ("pods", "http:odd:8080"),
        ("services", "odd:80"),
        ("services", "odd:web"),
        ("services", "http:odd:web"),
    ):
        status, _, text = door.ask(door.path(kind, name, "/a%20b/?c=%2F"))
        assert (status, text.splitlines()[0]) == (200, "GET /a%20b/?c=%2F"), (kind, name)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_and_bodies_get_through(door: Door, method: str) -> None:
    _, _, text = door.ask(door.path("services", "odd:web", "/x"), method, b"the body", {"cookie": "a=b"})
    lines = text.splitlines()
    assert lines[0] == f"{method} /x"
    assert lines[-1] == "the body"
    assert "cookie: a=b" in lines
    assert "x-forwarded-proto: https" in lines
    assert f"x-forwarded-uri: {door.path('services', 'odd:web', '/x')}" in lines


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_a_slash_one_is_sent_to_where_links_work(door: Door, method: str) -> None:
    path = door.path("services", "odd:web")
    status, headers, _ = door.ask(f"{path}?a=b", method)
    assert (status, headers["location"]) == (301, f"{path}/?a=b")


def test_redirects_and_links_lead_through_the_proxy(door: Door) -> None:
    status, headers, _ = door.ask(door.path("pods", "odd", "/moved"))
    assert (status, headers["location"]) == (302, door.path("pods", "odd", "/there/"))
    _, headers, text = door.ask(door.path("pods", "odd", "/page"))
    assert text == f'<p>/x <a href="{door.path("pods", "odd", "/x")}">x</a>'
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("kind", "name"), [("pods", "odd"), ("services", "odd:web")])
def test_an_upgraded_connection_is_joined(door: Door, kind: str, name: str) -> None:
    connection = door.connection()
    connection.putrequest("GET", door.path(kind, name, "/echo"))
    connection.putheader("connection", "Upgrade")
    connection.putheader("upgrade", "echo")
    connection.endheaders()
    assert connection.sock is not None
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += connection.sock.recv(1)
    assert received.startswith(b"HTTP/1.1 101 ")
    for piece in (b"hello", b"again" * 10_000):
        connection.sock.sendall(piece)
        back = b""
        while len(back) < len(piece):
            back += connection.sock.recv(65536)
        assert back == piece
    connection.close()


@pytest.mark.parametrize(
    ("kind", "name", "status", "message"),
    [
        ("services", "odd", 503, 'no endpoints available for service "odd"'),
        ("services", "odd:99", 503, 'no service port 99 found for service "odd"'),
        ("services", "odd:none", 503, "error trying to reach service: "),
        ("services", "ftp:odd:web", 400, 'invalid service request "ftp:odd:web"'),
        ("pods", "nobody", 404, 'pods "nobody" not found'),
        ("pods", "odd:9", 503, "error trying to reach service: "),
    ],
)
def test_what_cannot_be_reached_says_why(door: Door, kind: str, name: str, status: int, message: str) -> None:
    answered, _, text = door.ask(door.path(kind, name, "/"))
    assert (answered, json.loads(text)["message"][: len(message)]) == (status, message)


def test_a_node_shows_what_its_kubelet_knows(door: Door) -> None:
    assert door.ask("/api/v1/nodes/node-0/proxy/healthz")[2] == "ok"
    assert json.loads(door.ask("/api/v1/nodes/node-0:10250/proxy/pods")[2])["kind"] == "PodList"
    status, headers, _ = door.ask("/api/v1/nodes/node-0/proxy")
    assert (status, headers["location"]) == (301, "/api/v1/nodes/node-0/proxy/")
