"""What nobody should ask, over a real connection: each is answered with the Status that Kubernetes gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keelback.apiserver.server import too_large
from keelback.component.http import Request, Response
from keelback.component.serving import Server
from keelback.testing.api import ADMINISTRATOR, api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
METHOD = "the server does not allow this method on the requested resource"
NOWHERE = "the server could not find the requested resource"
_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VERSION = "invalid resource version: resourceVersion"
_CONTINUE = "invalid continue token: continue key is not valid: "
_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

Case = tuple[str, str, Any, int, str]


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", **metadata}}


def pod(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "m", "image": "x:1", **container}]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": spec}


def service(**port: Any) -> dict[str, Any]:
    return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s"}, "spec": {"ports": [port]}}


def refused(cases: Sequence[Case]) -> list[tuple[str, str, int, str]]:
    """Each case with the status and message it was answered with."""

    async def main() -> list[tuple[str, str, int, str]]:
        found = []
        async with api_server() as api:
            for method, target, body, _, _ in cases:
                path, _, query = target.partition("?")
                content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
                headers = {"content-type": "application/json"}
                answer = await api.handle(Request(method, path, query, headers, content, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                text = answer.content().decode()
                message = json.loads(text)["message"] if text.startswith('{"kind":"Status"') else text
                found.append((method, target, answer.status, message))
        return found

    return asyncio.run(main())


def check(cases: Sequence[Case]) -> None:
    assert refused(cases) == [(method, target, code, message) for method, target, _, code, message in cases]


def test_metadata_out_of_bounds() -> None:
    def invalid(name: str, problem: str) -> str:
        return f'ConfigMap "{name}" is invalid: metadata.{problem}'

    long_name, long_key, long_value = "a" * 254, "k" * 64, "v" * 64
    check(
        [
            (
                "POST",
                CONFIG_MAPS,
                config_map(name=name),
                422,
                invalid(name, f'name: Invalid value: "{name}": {problem}'),
            )
            for name, problem in (
                ("UPPER", _SUBDOMAIN),
                ("a/b", _SUBDOMAIN),
                ("..", _SUBDOMAIN),
                (long_name, "must be no more than 253 bytes"),
            )
        ]
        + [
            ("POST", CONFIG_MAPS, config_map(**{field: given}), 422, invalid("a", f"{field}: {problem}"))
            for field, given, problem in (
                ("labels", {"a b": "c"}, f'Invalid value: "a b": {_QUALIFIED}'),
                ("labels", {long_key: "v"}, f'Invalid value: "{long_key}": name part must be no more than 63 bytes'),
                ("labels", {"a": long_value}, f'Invalid value: "{long_value}": must be no more than 63 bytes'),
                ("annotations", {"a b": "c"}, f'Invalid value: "a b": {_QUALIFIED}'),
                ("annotations", {"a": "x" * 262144}, "Too long: may not be more than 262144 bytes"),
            )
        ]
        + [
            (
                "POST",
                CONFIG_MAPS,
                config_map(namespace="other"),
                400,
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            ("POST", "/api/v1/namespaces/absent/configmaps", config_map(), 404, 'namespaces "absent" not found'),
        ]
    )


def test_numbers_out_of_range() -> None:
    range_of_ports = "must be between 1 and 65535, inclusive"
    requests, ports = "spec.containers[0].resources.requests", "spec.containers[0].ports"
    resources = [
        ({"requests": {"cpu": "abc"}}, 400, f'Pod in version "v1" cannot be handled as a Pod: {_QUANTITY}'),
        (
            {"requests": {"cpu": "-1"}},
            422,
            f'Pod "p" is invalid: {requests}[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            422,
            f'Pod "p" is invalid: {requests}: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
    ]
    check(
        [
            (
                "POST",
                SERVICES,
                service(port=65536, targetPort=80),
                422,
                f'Service "s" is invalid: spec.ports[0].port: Invalid value: 65536: {range_of_ports}',
            ),
            (
                "POST",
                PODS,
                pod(ports=[{"containerPort": 70000}]),
                422,
                f'Pod "p" is invalid: {ports}[0].containerPort: Invalid value: 70000: {range_of_ports}',
            ),
            *(("POST", PODS, pod(resources=given), code, message) for given, code, message in resources),
        ]
    )


def test_odd_parameters() -> None:
    syntax = "invalid syntax"
    check(
        [
            ("GET", f"{CONFIG_MAPS}?limit=abc", None, 400, f'strconv.ParseInt: parsing "abc": {syntax}'),
            ("GET", f"{CONFIG_MAPS}?limit=%C2%B2", None, 400, f'strconv.ParseInt: parsing "²": {syntax}'),
            ("GET", f"{CONFIG_MAPS}?limit=1_0", None, 400, f'strconv.ParseInt: parsing "1_0": {syntax}'),
            ("GET", f"{CONFIG_MAPS}?timeoutSeconds=abc", None, 400, f'strconv.ParseInt: parsing "abc": {syntax}'),
            ("GET", f"{CONFIG_MAPS}?watch=1&timeoutSeconds=x", None, 400, f'strconv.ParseInt: parsing "x": {syntax}'),
            ("GET", f"{CONFIG_MAPS}?continue=bad.", None, 400, f"{_CONTINUE}illegal base64 data at input byte 3"),
            (
                "GET",
                f"{CONFIG_MAPS}?resourceVersion=abc",
                None,
                400,
                f'{_VERSION}: Invalid value: "abc": strconv.ParseUint: parsing "abc": {syntax}',
            ),
            (
                "GET",
                f"{CONFIG_MAPS}?labelSelector=a%20in%20(b",
                None,
                400,
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("GET", f"{CONFIG_MAPS}?fieldSelector=a", None, 400, "invalid selector: 'a'; can't understand 'a'"),
            (
                "POST",
                f"{CONFIG_MAPS}?fieldValidation=bad",
                config_map(),
                422,
                'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "bad": supported values: '
                '"", "Ignore", "Strict", "Warn"',
            ),
            (
                "POST",
                f"{CONFIG_MAPS}?fieldManager={'m' * 129}",
                config_map(),
                422,
                'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes',
            ),
            (
                "DELETE",
                f"{CONFIG_MAPS}/a?propagationPolicy=bad",
                None,
                422,
                'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "bad": supported '
                'values: "Foreground", "Background", "Orphan", "nil"',
            ),
            ("DELETE", f"{CONFIG_MAPS}/a?gracePeriodSeconds=x", None, 400, f'strconv.ParseInt: parsing "x": {syntax}'),
        ]
    )


def test_unknown_methods_paths_and_subresources() -> None:
    check(
        [
            ("BREW", CONFIG_MAPS, None, 405, METHOD),
            ("TRACE", f"{CONFIG_MAPS}/a", None, 405, METHOD),
            ("PUT", CONFIG_MAPS, config_map(), 405, METHOD),
            ("PATCH", CONFIG_MAPS, b"{}", 405, METHOD),
            ("POST", f"{CONFIG_MAPS}/a", config_map(), 405, METHOD),
            ("POST", "/version", None, 405, METHOD),
            ("DELETE", "/api/v1", None, 405, METHOD),
            ("PUT", "/apis/apps/v1", None, 405, METHOD),
            ("DELETE", "/api/v1/namespaces", None, 405, METHOD),
            ("GET", "/api/v1/namespaces/default/finalize", None, 405, METHOD),
            ("GET", "/api/v1/namespaces/default/bindings", None, 405, METHOD),
            ("GET", f"{PODS}/p/eviction", None, 405, METHOD),
            ("DELETE", f"{PODS}/p/status", None, 405, METHOD),
            ("GET", "/apis/authentication.k8s.io/v1/tokenreviews", None, 405, METHOD),
            ("GET", "/api/v1/nope", None, 404, NOWHERE),
            ("GET", "/apis/apps/v9/deployments", None, 404, NOWHERE),
            ("GET", "/apis/nope.example.com/v1/things", None, 404, "404 page not found\n"),
            ("GET", "/nope", None, 404, "404 page not found\n"),
            ("GET", f"{PODS}/p/nope", None, 404, NOWHERE),
            ("GET", f"{CONFIG_MAPS}/a/status", None, 404, NOWHERE),
            ("GET", "/api/v1//configmaps", None, 404, NOWHERE),
            ("GET", f"{CONFIG_MAPS}/../secrets", None, 404, NOWHERE),
            (
                "PUT",
                f"{CONFIG_MAPS}/a",
                config_map(name="b"),
                400,
                "the name of the object (b) does not match the name on the URL (a)",
            ),
        ]
    )


def test_what_is_too_deep_or_no_text() -> None:
    deep = b'{"kind":"ConfigMap","data":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    check(
        [
            (
                "POST",
                CONFIG_MAPS,
                deep,
                400,
                "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "
                'json parse error: exceeded max depth ({"kind":"ConfigMap","data":{"a ...)',
            ),
            (
                "POST",
                CONFIG_MAPS,
                rb'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"\ud800"}}',
                422,
                f'ConfigMap "\ufffd" is invalid: metadata.name: Invalid value: "\ufffd": {_SUBDOMAIN}',
            ),
            (
                "POST",
                CONFIG_MAPS,
                b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"\xff"}}',
                422,
                f'ConfigMap "\ufffd" is invalid: metadata.name: Invalid value: "\ufffd": {_SUBDOMAIN}',
            ),
        ]
    )


# Below HTTP's surface, over a socket.

_HEAD = b"Host: x\r\nAuthorization: Bearer admin-token\r\n"
_POST = b"POST /api/v1/namespaces HTTP/1.1\r\n" + _HEAD
_GET = b"GET /version HTTP/1.1\r\n"


@asynccontextmanager
async def _front_door() -> AsyncIterator[int]:
    async with api_server() as api, Server(api.handle, too_large=too_large) as server:
        yield server.bound_port


def _answers(sent: bytes) -> bytes:
    """All that comes back on a connection until the server closes it."""

    async def main() -> bytes:
        async with _front_door() as port, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            return answer

    return asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [
        _POST
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n",
        _POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Content-Length: +2\r\n\r\n{}",
        _POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
        b"GET /version HTTP/1.1\nHost: x\n\n",
        _GET + b"Host: x\r\nA: b\r\n c\r\n\r\n",
        _GET + b"Host: x\r\nA: b\x00c\r\n\r\n",
        _GET + b"\r\n",
        _GET + b"Host: a\r\nHost: b\r\n\r\n",
        b"GET /version HTTP/9.9\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"BR/EW /version HTTP/1.1\r\nHost: x\r\n\r\n",
        b"BREW /version HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /api/v1/namespaces/%zz HTTP/1.1\r\n" + _HEAD + b"\r\n",
    ],
)
def test_ambiguous_http_is_refused_once_and_the_connection_ends(sent: bytes) -> None:
    answer = _answers(sent)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_method_that_nobody_knows_is_answered_by_a_status() -> None:
    answer = _answers(b"BREW /version HTTP/1.1\r\nConnection: close\r\n" + _HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"] == "MethodNotAllowed"


def test_a_flood_of_headers_is_refused() -> None:
    flood = b"".join(b"X-%d: y\r\n" % number for number in range(200_000))
    assert _answers(_GET + b"Host: x\r\n" + flood + b"\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "sent",
    [
        _POST + b"Content-Length: 3145729\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\n300001\r\n" + b" " * 0x300001,
    ],
)
def test_a_body_over_3_mib_is_refused_with_a_status(sent: bytes) -> None:
    answer = _answers(sent)
    assert answer.startswith(b"HTTP/1.1 413 ")
    status = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (status["message"], status["reason"], status["code"]) == (
        "Request entity too large: limit is 3145728",
        "RequestEntityTooLarge",
        413,
    )


def test_a_compressed_body_is_not_unpacked() -> None:
    # Kubernetes does not read Content-Encoding of requests either: there is nothing to blow up.
    packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00"
    answer = _answers(_POST + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + packed)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"1f8b0800" in answer


def test_logs_and_nodes_that_cannot_be_had() -> None:
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}}
    invalid = 'PodLogOptions "p" is invalid: '
    results = refused(
        [
            ("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}, 0, ""),
            ("POST", PODS, pod(), 0, ""),
            ("POST", "/api/v1/nodes", node, 0, ""),
            ("GET", f"{PODS}/p/log?tailLines=-1", None, 0, ""),
            ("GET", f"{PODS}/p/log?sinceSeconds=0&limitBytes=0", None, 0, ""),
            ("GET", f"{PODS}/p/log?tailLines=x", None, 0, ""),
            ("GET", f"{PODS}/p/log", None, 0, ""),
            ("GET", "/api/v1/nodes/n/proxy/healthz", None, 0, ""),
        ]
    )
    assert [code for *_, code, _ in results[:3]] == [201, 201, 201]
    assert [(code, message) for *_, code, message in results[3:]] == [
        (422, f"{invalid}tailLines: Invalid value: -1: must be greater than or equal to 0"),
        (
            422,
            f"{invalid}[limitBytes: Invalid value: 0: must be greater than 0, "
            "sinceSeconds: Invalid value: 0: must be greater than 0]",
        ),
        (400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (200, ""),
        (500, "no preferred addresses found; known addresses: []"),
    ]
