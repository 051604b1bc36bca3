"""The audit log says who did what, when and how it went, as Kubernetes' says it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.context import RequestContext
from keelback.audit.options import AuditOptions
from keelback.component.connection import RawConnection
from keelback.component.http import Request, Response, StreamingResponse, UpgradeResponse
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.requests import asking

EVERYTHING = {"level": "RequestResponse"}
SELF = {"omitStages": ["RequestReceived"]}


class Closed(asyncio.Transport):
    """A transport that nobody is at the other end of."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Lost."""

    def close(self) -> None:
        """It is."""

    def is_closing(self) -> bool:
        return True


class Log:
    """The lines that a server has written since they were last read."""

    def __init__(self, path: Path, server: RunningAPIServer) -> None:
        self._path = path
        self._read = 0
        self.server = server
        self.ask = asking(server.handle)

    def events(self, *, users: tuple[str, ...] = ("admin", "jane", "")) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines()
        found = [json.loads(one) for one in lines[self._read :]]
        self._read = len(lines)
        return [one for one in found if one["user"].get("username", "") in users]


@asynccontextmanager
async def audited(folder: Path, *rules: dict[str, Any], **policy: Any) -> AsyncIterator[Log]:
    path = folder / "policy.yaml"
    path.write_text(yaml.dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **policy}))
    options = AuditOptions(audit_policy_file=str(path), audit_log_path=str(folder / "audit.log"))
    async with api_server(audit=options) as server, asyncio.timeout(30):
        log = Log(folder / "audit.log", server)
        log.events()
        yield log


def config_map(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}, **more}


PATH = "/api/v1/namespaces/default/configmaps"


def test_a_creation_is_noted_when_it_comes_and_when_it_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, EVERYTHING) as log:
            headers = {"user_agent": "kubectl/v1.36", "x_forwarded_for": "203.0.113.7, nonsense"}
            status, made = await log.ask("POST", f"{PATH}?fieldManager=me", config_map(), **headers)
            assert status == 201
            received, complete = log.events()
        assert list(received)[:4] == ["kind", "apiVersion", "level", "auditID"]
        assert received["stage"] == "RequestReceived"
        assert received["stageTimestamp"] == received["requestReceivedTimestamp"]
        assert "responseStatus" not in received
        assert "requestObject" not in received
        timestamps = {key: complete.pop(key) for key in ("requestReceivedTimestamp", "stageTimestamp")}
        assert timestamps["stageTimestamp"] > timestamps["requestReceivedTimestamp"]
        assert complete == {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "RequestResponse",
            "auditID": received["auditID"],
            "stage": "ResponseComplete",
            "requestURI": f"{PATH}?fieldManager=me",
            "verb": "create",
            "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
            "sourceIPs": ["203.0.113.7", "::1"],
            "userAgent": "kubectl/v1.36",
            "objectRef": {"resource": "configmaps", "namespace": "default", "name": "c", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestObject": config_map(),
            "responseObject": made,
            "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
        }

    asyncio.run(main())


def test_the_answer_and_its_record_have_one_identifier(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata"}) as log:
            for headers in ({}, {"audit-id": "given"}):
                answer = await log.server.handle(Request("GET", PATH, headers=headers, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                assert {one["auditID"] for one in log.events()} == {answer.headers["audit-id"]}
        assert answer.headers["audit-id"] == "given"

    asyncio.run(main())


def test_a_failure_is_noted_with_what_the_status_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            await log.ask("GET", f"{PATH}/absent")
            accept = {"accept": "application/vnd.kubernetes.protobuf"}
            await log.server.handle(Request("GET", f"{PATH}/absent", headers=accept, identity=ADMINISTRATOR))
            missing, same = log.events()
            await log.ask("GET", PATH, token="user-token")
            (forbidden,) = log.events()
        assert missing["responseStatus"] == {
            "metadata": {},
            "status": "Failure",
            "message": 'configmaps "absent" not found',
            "reason": "NotFound",
            "details": {"name": "absent", "kind": "configmaps"},
            "code": 404,
        }
        assert same["responseStatus"] == missing["responseStatus"]
        assert "requestObject" not in missing
        assert forbidden["user"]["username"] == "jane"
        assert forbidden["responseStatus"]["code"] == 403
        assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"

    asyncio.run(main())


def test_who_could_not_be_authenticated_is_noted_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, EVERYTHING) as log:
            status, _ = await log.ask("GET", PATH, token="wrong")
            assert status == 401
            (event,) = log.events()
        assert event["stage"] == "ResponseStarted"
        assert event["user"] == {}
        assert event["responseStatus"]["message"] == "Authentication failed, attempted: bearer"
        assert event["responseStatus"]["code"] == 401
        assert "annotations" not in event

    asyncio.run(main())


def test_impersonation_shows_both(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            await log.ask("GET", PATH, impersonate_user="joe")
            (event,) = log.events()
        assert event["user"]["username"] == "admin"
        assert event["impersonatedUser"] == {"username": "joe", "groups": ["system:authenticated"]}
        assert event["authenticationMetadata"] == {"impersonationConstraint": "impersonate:user-info"}
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"

    asyncio.run(main())


def test_a_watch_is_noted_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    class Gone:
        """A reader that has left already."""

        closed = True

        def write(self, data: bytes) -> None:
            raise AssertionError("nobody reads this")

        async def drain(self) -> None:
            return None

        async def wait_closed(self) -> None:
            return None

    async def main() -> None:
        async with audited(tmp_path, EVERYTHING) as log:
            answer = await log.server.handle(Request("GET", PATH, "watch=1", identity=ADMINISTRATOR))
            assert isinstance(answer, StreamingResponse)
            received, started = log.events()
            assert [one["stage"] for one in (received, started)] == ["RequestReceived", "ResponseStarted"]
            assert started["responseStatus"] == {"metadata": {}, "code": 200}
            assert answer.headers["audit-id"] == started["auditID"]
            await answer.serve(Gone())
            (complete,) = log.events()
            assert complete["stage"] == "ResponseComplete"
            assert complete["verb"] == "watch"
            assert "responseObject" not in complete
            await log.ask("GET", f"{PATH}?watch=1&resourceVersion=x")
            assert [one["stage"] for one in log.events()] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]

    asyncio.run(main())


def test_managed_fields_are_left_out_where_the_policy_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        with_fields = {**EVERYTHING, "verbs": ["list"], "omitManagedFields": False}
        async with audited(tmp_path, with_fields, EVERYTHING, omitManagedFields=True, **SELF) as log:
            await log.ask("POST", PATH, config_map())
            await log.ask("GET", f"{PATH}/c")
            await log.ask("GET", PATH)
            await log.ask("GET", f"{PATH}/c", accept="application/json;as=Table;g=meta.k8s.io;v=v1")
            created, got, listed, tabled = (one["responseObject"] for one in log.events())
        assert "managedFields" not in created["metadata"]
        assert got["data"] == {"a": "1"}
        assert "managedFields" not in got["metadata"]
        assert "managedFields" in next(one for one in listed["items"] if one["metadata"]["name"] == "c")["metadata"]
        assert "managedFields" not in tabled["rows"][0]["object"]["metadata"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "noted"),
    [
        ("PATCH", f"{PATH}/c", b'{"data":\n {"b": "2"}}', "application/merge-patch+json", {"data": {"b": "2"}}),
        (
            "PATCH",
            f"{PATH}/c?fieldManager=me",
            b"apiVersion: v1\nkind: ConfigMap\ndata: {b: '3'}",
            "application/apply-patch+yaml",
            {"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "3"}},
        ),
        (
            "DELETE",
            f"{PATH}/c",
            b'{"propagationPolicy": "Background"}',
            "application/json",
            {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background"},
        ),
        (
            "POST",
            "/api/v1/namespaces/default/services",
            b'{"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}, "odd": 1}',
            "application/json",
            {
                "kind": "Service",
                "apiVersion": "v1",
                "metadata": {"name": "s"},
                "spec": {
                    "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
                    "type": "ClusterIP",
                    "sessionAffinity": "None",
                    "internalTrafficPolicy": "Cluster",
                },
                "status": {"loadBalancer": {}},
            },
        ),
        ("POST", PATH, b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: d}", "application/yaml", None),
        ("POST", PATH, b"{", "application/json", "nothing"),
    ],
)
def test_what_was_sent_is_noted_as_json(
    tmp_path: Path, method: str, path: str, body: bytes, kind: str, noted: Any
) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Request", **SELF}) as log:
            await log.ask("POST", PATH, config_map())
            log.events()
            await log.ask(method, path, body, kind=kind)
            (event,) = log.events()
        if noted == "nothing":
            assert "requestObject" not in event
        else:
            assert event["requestObject"] == (noted or yaml.safe_load(body))
        assert "responseObject" not in event

    asyncio.run(main())


def test_an_update_names_the_object_by_its_identity(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            _, made = await log.ask("POST", PATH, config_map())
            await log.ask("PUT", f"{PATH}/c", made)
            _, updated = log.events()
        assert updated["objectRef"]["uid"] == made["metadata"]["uid"]
        assert updated["objectRef"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    asyncio.run(main())


def test_what_admission_notes_is_in_the_event(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    labels = {"pod-security.kubernetes.io/audit": "restricted"}

    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": labels}}
            await log.ask("POST", "/api/v1/namespaces", namespace)
            log.events()
            await log.ask("POST", "/api/v1/namespaces/n/pods", pod)
            (event,) = log.events()
        noted = event["annotations"]
        assert noted["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest"
        assert "allowPrivilegeEscalation" in noted["pod-security.kubernetes.io/audit-violations"]

    asyncio.run(main())


def test_the_use_of_what_is_deprecated_is_noted(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            await log.ask("GET", "/api/v1/componentstatuses")
            (event,) = log.events()
        assert event["annotations"]["k8s.io/deprecated"] == "true"

    asyncio.run(main())


def test_a_token_is_noted_with_the_identifier_that_its_use_will_show(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            path = "/api/v1/namespaces/default/serviceaccounts"
            await log.ask("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}})
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
            _, issued = await log.ask("POST", f"{path}/a/token", request)
            _, event = log.events()
        claims = issued["status"]["token"].split(".")[1]
        identifier = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
        assert event["annotations"]["authentication.kubernetes.io/issued-credential-id"] == f"JTI={identifier}"

    asyncio.run(main())


def test_a_connection_that_leaves_http_is_noted_until_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        headers = {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with audited(tmp_path, EVERYTHING) as log:
            answer = await log.server.handle(Request("GET", PATH, "watch=1", headers, identity=ADMINISTRATOR))
            assert isinstance(answer, UpgradeResponse)
            _, started = log.events()
            assert (started["stage"], started["responseStatus"]["code"]) == ("ResponseStarted", 101)
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(answer.serve(RawConnection(Closed())))
                await asyncio.sleep(0)
                serving.cancel()
            assert [one["stage"] for one in log.events()] == ["ResponseComplete"]

    asyncio.run(main())


def test_a_request_that_is_given_up_is_noted_so(tmp_path: Path) -> None:
    async def slow(context: object) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            log.server._server.routes.add_path("/slow", slow)
            asking = asyncio.ensure_future(log.ask("GET", "/slow"))
            for _ in range(10):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            (event,) = log.events()
        assert event["responseStatus"]["message"] == "Connection closed early"

    asyncio.run(main())


def test_requests_outside_the_resources_have_no_object(tmp_path: Path) -> None:
    async def main() -> None:
        async with audited(tmp_path, {**EVERYTHING, "nonResourceURLs": ["/version*"], **SELF}) as log:
            await log.ask("GET", "/version")
            await log.ask("GET", "/api")
            await log.ask("GET", PATH)
            (event,) = log.events()
        assert event["requestURI"] == "/version"
        assert event["verb"] == "get"
        assert "objectRef" not in event
        assert "responseObject" not in event

    asyncio.run(main())


def test_a_defect_is_noted_as_a_panic(tmp_path: Path) -> None:
    async def broken(context: object) -> Response:
        raise ZeroDivisionError("oh")

    async def main() -> None:
        async with audited(tmp_path, {"level": "Metadata", **SELF}) as log:
            log.server._server.routes.add_path("/broken", broken)
            await log.ask("GET", "/broken")
            (event,) = log.events()
        assert event["stage"] == "Panic"
        assert event["responseStatus"]["message"] == "APIServer panic'd: oh"
        assert event["responseStatus"]["code"] == 500

    asyncio.run(main())


@pytest.mark.parametrize(("level", "is_told"), [("Metadata", False), ("Request", True)])
def test_a_webhooks_patch_is_told_only_where_objects_are(tmp_path: Path, level: str, is_told: bool) -> None:
    patch, mutation = (
        "patch.webhook.admission.k8s.io/round_0_index_0",
        "mutation.webhook.admission.k8s.io/round_0_index_0",
    )

    async def patched(context: RequestContext) -> Response:
        context.audit_annotations.update({patch: "{}", mutation: "{}"})
        return Response(200, {}, b"{}")

    async def main() -> None:
        async with audited(tmp_path, {"level": level, **SELF}) as log:
            log.server._server.routes.add_path("/patched", patched)
            await log.ask("GET", "/patched")
            (event,) = log.events()
        assert mutation in event["annotations"]
        assert (patch in event["annotations"]) is is_told

    asyncio.run(main())


@pytest.mark.parametrize(("mode", "status"), [("blocking", 200), ("blocking-strict", 500)])
def test_a_log_that_is_full_stops_requests_only_where_that_is_wanted(tmp_path: Path, mode: str, status: int) -> None:
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata", "users": ["admin"]}]}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    options = AuditOptions(
        audit_policy_file=str(tmp_path / "policy.json"), audit_log_path="/dev/full", audit_log_mode=mode
    )

    async def main() -> None:
        async with api_server(audit=options) as server, asyncio.timeout(30):
            answered, answer = await asking(server.handle)("GET", PATH)
            assert answered == status
            if status == 500:
                assert answer["message"] == "Internal error occurred: failed to store audit event"

    asyncio.run(main())


def test_metrics_count_levels_and_events(tmp_path: Path) -> None:
    async def main() -> None:
        nothing = {"level": "None", "nonResourceURLs": ["/version", "/metrics"]}
        async with audited(tmp_path, nothing, {"level": "Metadata", "users": ["admin"]}) as log:
            await log.ask("GET", "/version")
            await log.ask("GET", PATH)
            _, text = await log.ask("GET", "/metrics")
        lines = text.splitlines()
        assert "apiserver_audit_event_total 2" in lines
        assert 'apiserver_audit_level_total{level="Metadata"} 1' in lines

    asyncio.run(main())
