"""What is noted of a request at one stage, and how it is written: audit.k8s.io/v1 Event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from keelback.apimachinery.go_text import go_quoted
from keelback.audit.options import API_VERSION

_EVENT_HEAD = f'{{"kind":"Event","apiVersion":"{API_VERSION}",'.encode()
_LIST_HEAD = f'{{"kind":"EventList","apiVersion":"{API_VERSION}","metadata":{{}},"items":['.encode()


class Omitting(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What leaves out fields that say nothing."""


class AuditedUser(Omitting, frozen=True):
    """Who asked. All is empty where that is not known."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class AuthenticationMetadata(Omitting, frozen=True):
    """Which right made an impersonation possible, where it was a constrained one (KEP-5284)."""

    impersonation_constraint: str = ""


class ObjectReference(Omitting, frozen=True):
    """The object that a request is about, as far as the request names it."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = ""
    api_version: str = ""
    resource_version: str = ""
    subresource: str = ""


class ResponseStatus(Omitting, frozen=True):
    """The code of an answer; all of it where the answer is a Status. Go always writes the metadata, which are empty."""

    metadata: Mapping[str, str]
    status: str = ""
    message: str = ""
    reason: str = ""
    details: msgspec.Raw | None = None
    code: int = 0


class Event(Omitting, frozen=True, kw_only=True):
    """A request at one stage."""

    level: str
    audit_id: str = msgspec.field(name="auditID")
    stage: str
    request_uri: str = msgspec.field(name="requestURI")
    verb: str
    user: AuditedUser
    impersonated_user: AuditedUser | None = None
    authentication_metadata: AuthenticationMetadata | None = None
    source_ips: tuple[str, ...] = msgspec.field(default=(), name="sourceIPs")
    user_agent: str = ""
    object_ref: ObjectReference | None = None
    response_status: ResponseStatus | None = None
    request_object: msgspec.Raw | None = None
    response_object: msgspec.Raw | None = None
    request_received_timestamp: str
    stage_timestamp: str
    annotations: Mapping[str, str] = {}


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """An event in JSON, as an object of its own."""
    return _EVENT_HEAD + _encoder.encode(event)[1:]


def encode_list(events: Iterable[Event]) -> bytes:
    """Events in JSON, as webhooks get them."""
    return _LIST_HEAD + b",".join(map(_encoder.encode, events)) + b"]}"


def timestamp(time: datetime) -> str:
    """A time with its microseconds (MicroTime)."""
    # strftime takes four times as long.
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def text_line(event: Event) -> str:
    """An event in one line of text, with the most important of it: the format that upstream calls legacy."""
    user, other, reference, status = event.user, event.impersonated_user, event.object_ref, event.response_status
    # Go leaves out zeros at the end of a fraction of a second.
    received = event.request_received_timestamp.removesuffix("Z").rstrip("0").removesuffix(".") + "Z"
    shown = {
        "id": event.audit_id,
        "stage": event.stage,
        "ip": event.source_ips[0] if event.source_ips else "<unknown>",
        "method": event.verb,
        "user": user.username or "<none>",
        "groups": _listed(user.groups) if user.username and user.groups else "<none>",
        "as": other.username if other else "<self>",
        "asgroups": _listed(other.groups) if other and other.groups else "<lookup>",
        "user-agent": event.user_agent,
        "namespace": (reference.namespace if reference else "") or "<none>",
        "uri": event.request_uri,
    }
    told = " ".join(f"{name}={go_quoted(value)}" for name, value in shown.items())
    return f'{received} AUDIT: {told} response="{status.code if status else "<deferred>"}"'


def _listed(values: Iterable[str]) -> str:
    return ",".join(map(go_quoted, values))
