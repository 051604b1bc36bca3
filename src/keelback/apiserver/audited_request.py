"""The audit record of one request: facts are gathered on its way, and each stage makes an event of those there are."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from keelback.apimachinery import protobuf
from keelback.apimachinery.meta import Object
from keelback.apiserver.request_info import RequestInfo, is_long_running
from keelback.audit.backends import AuditMetrics, Union
from keelback.audit.events import (
    AuditedUser,
    AuthenticationMetadata,
    Event,
    ObjectReference,
    ResponseStatus,
    timestamp,
)
from keelback.audit.policy import Level, Noted, Stage
from keelback.auth.attributes import Verdict
from keelback.auth.users import UserInfo
from keelback.component.http import (
    AnyResponse,
    Connection,
    Request,
    Response,
    StreamingResponse,
    UpgradeResponse,
    Writer,
    query_values,
)
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

HEADER = "audit-id"
_PATH_SAFE = "/$&+,:;=@!'()*~"
_MOST_USER_AGENT = 1024
# What a request of this process itself comes from.
_LOOPBACK = "::1"
_CLOSED_EARLY = ResponseStatus({}, status="Success", message="Connection closed early", code=200)
_PATCH = "patch.webhook.admission.k8s.io/"
_REMOVED = re.compile(r"unavailable in v(\d+\.\d+)\+")
_log = logger("apiserver.audit")


@dataclass(frozen=True, slots=True)
class AuditSink:
    """Where events go, and what tells their time."""

    backend: Union
    metrics: AuditMetrics
    clock: Clock


class RequestAudit:
    """See the module. `user` is None where the caller could not be authenticated."""

    def __init__(
        self,
        sink: AuditSink,
        noted: Noted,
        audit_id: str,
        request: Request,
        info: RequestInfo,
        user: UserInfo | None,
        received: datetime,
        annotations: Mapping[str, str],
    ) -> None:
        """`annotations` are those that admission adds to on the way."""
        self.failure = ""
        """What went wrong in a way that nobody foresaw."""
        self._sink = sink
        self._noted = noted
        self._request = request
        self._is_refused = user is None
        self._keeps_response = noted.level is Level.REQUEST_RESPONSE and info.is_resource_request
        self._admission_annotations = annotations
        self._keeps_request = noted.level in (Level.REQUEST, Level.REQUEST_RESPONSE)
        self._is_long_running = is_long_running(info)
        self._annotations: dict[str, str] = {}
        self._event = Event(
            level=noted.level.value,
            audit_id=audit_id,
            stage="",
            request_uri=_request_uri(request),
            verb=info.verb,
            user=AuditedUser() if user is None else _audited(user),
            source_ips=_source_ips(request),
            user_agent=_shortened(request.headers.get("user-agent", "")),
            object_ref=_reference(info),
            request_received_timestamp=timestamp(received),
            stage_timestamp="",
        )

    # Facts.

    def impersonated(self, user: UserInfo, constraint: str) -> None:
        """Note as whom the request goes on; `constraint` names the right, where it was not the plain one."""
        metadata = AuthenticationMetadata(constraint) if constraint else None
        self._note(impersonated_user=_audited(user), authentication_metadata=metadata)

    def authorized(self, verdict: Verdict) -> None:
        """Note what the authorizers say, or that they could not."""
        if verdict.error and not verdict.is_allowed:
            self._annotations["authorization.k8s.io/reason"] = "internal error"
            return
        self._annotations["authorization.k8s.io/decision"] = "allow" if verdict.is_allowed else "forbid"
        self._annotations["authorization.k8s.io/reason"] = verdict.reason

    def deprecated(self, warning: str) -> None:
        """Note that what is asked for will not be there for ever, and since when, where the warning says so."""
        self._annotations["k8s.io/deprecated"] = "true"
        if removed := _REMOVED.search(warning):
            self._annotations["k8s.io/removed-release"] = removed[1]

    def sent(self, obj: Object, encode: Callable[[], bytes]) -> None:
        """Note the object that was sent; `encode` makes JSON of it, where the policy wants more than its name."""
        reference, meta = self._event.object_ref, obj.metadata
        if reference is not None:
            named = msgspec.structs.replace(
                reference,
                namespace=reference.namespace or meta.namespace,
                name=reference.name or meta.name,
                uid=reference.uid or meta.uid,
                resource_version=reference.resource_version or meta.resource_version,
            )
            self._note(object_ref=named)
        if self._keeps_request:
            self.sent_text(encode())

    def sent_text(self, json: bytes) -> None:
        """Note a patch or options that were sent, in JSON."""
        if self._keeps_request:
            self._note(request_object=self._object(json))

    def _note(self, **facts: Any) -> None:
        self._event = msgspec.structs.replace(self._event, **facts)

    # Stages.

    async def emit(self, stage: Stage) -> bool:
        """Make the event of a stage and send it, unless the policy omits it; False where it is lost and must not be."""
        if stage in self._noted.omit_stages:
            return True
        sink, event = self._sink, self._event
        now = event.request_received_timestamp if stage is Stage.REQUEST_RECEIVED else timestamp(sink.clock.now())
        annotations = {**self._told_by_admission(), **self._annotations}
        made = msgspec.structs.replace(event, stage=stage.value, stage_timestamp=now, annotations=annotations)
        sink.metrics.events.inc()
        return await sink.backend.process((made,))

    def _told_by_admission(self) -> Mapping[str, str]:
        """What admission wants to be noted; a webhook's patch only where the request's objects are noted too."""
        told = self._admission_annotations
        if self._keeps_request or not told:
            return told
        return {key: value for key, value in told.items() if not key.startswith(_PATCH)}

    async def answered(self, response: AnyResponse) -> AnyResponse:
        """Note the answer, and name the record in it. Of one that is still being written the end is noted then."""
        code = 101 if isinstance(response, UpgradeResponse) else response.status
        status = ResponseStatus({}, code=code)
        if isinstance(response, Response):
            response = msgspec.structs.replace(response, headers=self._marked(response))
            status = self._answered_whole(response) or status
        self._note(response_status=status)
        if self._is_refused:
            await self._refuse()
            return response
        if self.failure:
            await self._panic()
            return response
        if self._is_long_running:
            await self.emit(Stage.RESPONSE_STARTED)
        if isinstance(response, Response):
            await self.emit(Stage.RESPONSE_COMPLETE)
            return response
        return self._to_the_end(response)

    async def abandoned(self) -> None:
        """Note that nobody waits for the answer any more."""
        self._note(response_status=_CLOSED_EARLY)
        await self.emit(Stage.RESPONSE_COMPLETE)

    async def _refuse(self) -> None:
        said = f"Authentication failed, {_credentials(self._request)}"
        self._note(response_status=ResponseStatus({}, status="Failure", message=said, reason="Unauthorized", code=401))
        await self.emit(Stage.RESPONSE_STARTED)

    async def _panic(self) -> None:
        said = f"APIServer panic'd: {self.failure}"
        self._note(response_status=ResponseStatus({}, status="Failure", message=said, reason="InternalError", code=500))
        await self.emit(Stage.PANIC)

    def _marked(self, response: Response | StreamingResponse) -> dict[str, str]:
        return {**response.headers, HEADER: self._event.audit_id}

    def _to_the_end(self, response: StreamingResponse | UpgradeResponse) -> AnyResponse:
        if isinstance(response, UpgradeResponse):
            upgraded = response

            async def serve_connection(connection: Connection) -> None:
                try:
                    await upgraded.serve(connection)
                finally:
                    await self.emit(Stage.RESPONSE_COMPLETE)

            return UpgradeResponse(serve_connection)
        streamed = response

        async def serve(writer: Writer) -> None:
            try:
                await streamed.serve(writer)
            finally:
                await self.emit(Stage.RESPONSE_COMPLETE)

        return StreamingResponse(response.status, self._marked(response), serve)

    # Answers.

    def _answered_whole(self, response: Response) -> ResponseStatus | None:
        """What the answer says if it is a Status; the object of the answer is noted where the policy wants it."""
        may_be_status = response.status >= 400 or _is_status(response)
        json = _json_of(response) if may_be_status or self._keeps_response else None
        if json is None:
            return None
        if self._keeps_response:
            self._note(response_object=self._object(json))
        if not may_be_status:
            return None
        try:
            said = _status_decoder.decode(json)
        except msgspec.MsgspecError:
            return None
        if said.kind != "Status":
            return None
        details = None if said.details is _ABSENT else said.details
        return ResponseStatus({}, said.status, said.message, said.reason, details, response.status)

    def _object(self, json: bytes) -> msgspec.Raw | None:
        """An object as it is noted: in one line, without managed fields where the policy omits them."""
        try:
            if self._noted.omit_managed_fields and b'"managedFields"' in json:
                return msgspec.Raw(msgspec.json.encode(_without_managed_fields(msgspec.json.decode(json))))
            return msgspec.Raw(msgspec.json.format(json, indent=-1))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            _log.warning("An object could not be noted", audit_id=self._event.audit_id, error=str(error))
            return None


_ABSENT = msgspec.Raw(b"")


class _Status(msgspec.Struct):
    kind: str = ""
    status: str = ""
    message: str = ""
    reason: str = ""
    details: msgspec.Raw = _ABSENT


_status_decoder = msgspec.json.Decoder(_Status)


def _is_status(response: Response) -> bool:
    """Whether the answer seems to be a Status: what was deleted may be answered with one."""
    body = response.body if isinstance(response.body, bytes) else next(iter(response.body), b"")
    return b"Status" in body[:32]


def _json_of(response: Response) -> bytes | None:
    content_type = response.headers.get("content-type", "")
    if content_type.startswith("application/json"):
        return response.content()
    if content_type.startswith("application/vnd.kubernetes.protobuf"):
        try:
            return protobuf.to_json(response.content())
        except protobuf.ProtobufError:
            return None
    return None


def _without_managed_fields(tree: Any) -> Any:
    """A decoded object, list or table, its own and its items' managed fields taken out."""
    if not isinstance(tree, dict):
        return tree
    rows = tree.get("rows")
    items = [row.get("object") for row in rows] if isinstance(rows, list) else tree.get("items") or []
    for one in (tree, *items):
        if isinstance(one, dict) and isinstance(one.get("metadata"), dict):
            one["metadata"].pop("managedFields", None)
    return tree


def _audited(user: UserInfo) -> AuditedUser:
    return AuditedUser(user.name, user.uid, user.groups, user.extra)


def _request_uri(request: Request) -> str:
    path = quote(request.path, safe=_PATH_SAFE)
    return f"{path}?{request.query}" if request.query else path


def _source_ips(request: Request) -> tuple[str, ...]:
    """Where the request says that it comes from, and where it does come from, last."""
    headers = request.headers
    found = []
    if "x-forwarded-for" in headers or "x-real-ip" in headers:
        given = [one.strip() for one in headers.get("x-forwarded-for", "").split(",")]
        found = [one for one in given if _is_address(one)]
        real = headers.get("x-real-ip", "")
        if _is_address(real) and real not in found:
            found.append(real)
    remote = request.remote or _LOOPBACK
    if not found or found[-1] != remote:
        found.append(remote)
    return tuple(found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shortened(user_agent: str) -> str:
    if len(user_agent) <= _MOST_USER_AGENT:
        return user_agent
    return f"{user_agent[:_MOST_USER_AGENT]}...TRUNCATED"


def _reference(info: RequestInfo) -> ObjectReference | None:
    if not info.is_resource_request:
        return None
    return ObjectReference(
        resource=info.resource,
        namespace=info.namespace,
        name=info.name,
        api_group=info.group,
        api_version=info.version,
        subresource=info.subresource,
    )


def _credentials(request: Request) -> str:
    """Which sorts of credentials came with a request, in upstream's words."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    sorts: list[str] = [name for name in ("basic", "bearer") if scheme.lower() == name and rest.strip()]
    if query_values(request.query).get("access_token", "").strip():
        sorts.append("access_token")
    if request.peer_certificate is not None:
        sorts.append("x509")
    return f"attempted: {', '.join(sorts)}" if sorts else "no credentials provided"
