"""Events of core/v1: kept for an hour, selected by what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from keelback.api.core_v1 import Event
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.cells import UNKNOWN, since, wide
from keelback.registry.strategy import Column, Strategy, human_duration

TTL_SECONDS = 3600


class _Reference(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class _Source(msgspec.Struct, frozen=True):
    component: str = ""


class EventFields(msgspec.Struct, frozen=True, rename="camel"):
    """What events can be selected by."""

    involved_object: _Reference = _Reference()
    reason: str = ""
    reporting_component: str = ""
    source: _Source = _Source()
    type: str = ""


def _micro(text: str | None, now: datetime) -> str:
    if not text:
        return UNKNOWN
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return UNKNOWN
    return human_duration((now - then).total_seconds())


def _first_seen(event: Event, now: datetime) -> str:
    return _micro(event.event_time, now) if event.first_timestamp is None else since(event.first_timestamp, now)


def _last_seen(event: Event, now: datetime) -> str:
    if event.series is not None:
        return _micro(event.series.last_observed_time, now)
    return _first_seen(event, now) if event.last_timestamp is None else since(event.last_timestamp, now)


def _count(event: Event, _now: datetime) -> int:
    return event.series.count if event.series is not None else max(event.count, 1)


def _about(event: Event, _now: datetime) -> str:
    return f"{event.involved_object.kind.lower()}/{event.involved_object.name}"


def _source(event: Event, _now: datetime) -> str:
    component = event.source.component or event.reporting_component
    host = event.source.host or ("" if event.source.component else event.reporting_instance)
    return f"{component}, {host}" if host else component


class EventStrategy(Strategy[Event]):
    kind = Event
    bare_finalizers = True
    checks_metadata_twice = False
    is_created_by_update = True
    counts_generations = False
    ttl_seconds = TTL_SECONDS
    leads_with_name = False
    columns = (
        Column("Last Seen", _last_seen),
        Column("Type", lambda event, _now: event.type),
        Column("Reason", lambda event, _now: event.reason),
        Column("Object", _about),
        wide("Subobject", lambda event, _now: event.involved_object.field_path),
        wide("Source", _source),
        Column("Message", lambda event, _now: event.message.strip()),
        wide("First Seen", _first_seen),
        wide("Count", _count),
        Column("Name", lambda event, _now: event.metadata.name, priority=1, format="name"),
    )
    field_type: ClassVar[type[msgspec.Struct]] = EventFields
    field_names = (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    )

    def fields(self, narrow: Any) -> Mapping[str, str]:
        about = narrow.involved_object
        return {
            "involvedObject.kind": about.kind,
            "involvedObject.namespace": about.namespace,
            "involvedObject.name": about.name,
            "involvedObject.uid": about.uid,
            "involvedObject.apiVersion": about.api_version,
            "involvedObject.resourceVersion": about.resource_version,
            "involvedObject.fieldPath": about.field_path,
            "reason": narrow.reason,
            "reportingComponent": narrow.reporting_component,
            "source": narrow.source.component or narrow.reporting_component,
            "type": narrow.type,
        }

    def validate(self, new: Event) -> Iterator[FieldError]:
        yield from of_every_version(new, "reportingComponent")

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # Upstream never looked at what events of the older form are called.
        return names.path_segment(name, is_prefix=is_prefix)


def of_every_version(event: Event, controller_field: str) -> Iterator[FieldError]:
    """What is wrong with an event in whatever words it comes; they name the controller differently."""
    if event.event_time:
        yield from _new_style(event, controller_field)
    else:
        # Events about what has no namespace live in `default`.
        about, own = event.involved_object.namespace, event.metadata.namespace
        if about != own and (about or own not in ("", "default")):
            yield invalid("involvedObject.namespace", about, _MISMATCH)
    for complaint in names.dns1123_subdomain(event.metadata.namespace):
        yield invalid("namespace", event.metadata.namespace, complaint)


_MISMATCH: Final = "does not match event.namespace"
_MAX_LENGTH: Final = 128
_MAX_MESSAGE_BYTES: Final = 1024


def _new_style(event: Event, controller_field: str) -> Iterator[FieldError]:
    """What is wrong with an event that says when it happened, as those of events.k8s.io do."""
    if not event.involved_object.namespace and event.metadata.namespace not in ("default", "kube-system"):
        yield invalid("involvedObject.namespace", "", _MISMATCH)
    if not event.reporting_component:
        yield required(controller_field)
    for complaint in names.qualified_name(event.reporting_component):
        yield invalid(controller_field, event.reporting_component, complaint)
    for path, given in (
        ("reportingInstance", event.reporting_instance),
        ("action", event.action),
        ("reason", event.reason),
    ):
        if not given:
            yield required(path)
        elif len(given.encode()) > _MAX_LENGTH:
            yield invalid(path, "", f"can have at most {_MAX_LENGTH} characters")
    if len(event.message.encode()) > _MAX_MESSAGE_BYTES:
        yield invalid("message", "", f"can have at most {_MAX_MESSAGE_BYTES} characters")
