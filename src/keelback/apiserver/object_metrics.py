"""What is told of each resource's objects, changes and watches, under upstream's names.

Plain numbers are counted where something happens, and made metrics of when somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.watch_stream import EVENT_SIZES
from keelback.component.metrics import Registry

_RESOURCE: Final = ("group", "resource")
_VERSION: Final = ("group", "version", "resource")


def add(metrics: Registry, handlers: Mapping[tuple[str, str], ResourceHandler]) -> None:
    """How many objects there are of each resource, how large they are, and what is told of them."""
    objects = metrics.gauge(
        "apiserver_resource_objects",
        "Number of stored objects at the time of last check split by kind.",
        _RESOURCE,
    )
    older = metrics.gauge(
        "apiserver_storage_objects",
        "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will "
        "be -1.",
        ("resource",),
    )
    sizes = metrics.gauge("apiserver_resource_size_estimate_bytes", "Estimated size of stored objects.", _RESOURCE)
    watchers = metrics.gauge(
        "apiserver_registered_watchers",
        "Number of currently registered watchers for a given resource",
        ("group", "version", "kind"),
    )
    received = metrics.counter(
        "apiserver_storage_events_received_total", "Number of etcd events received split by kind.", _RESOURCE
    )
    cached = metrics.counter(
        "apiserver_watch_cache_events_received_total",
        "Counter of events received in watch cache broken by resource type.",
        _RESOURCE,
    )
    dispatched = metrics.counter(
        "apiserver_watch_cache_events_dispatched_total",
        "Counter of events dispatched in watch cache broken by resource type.",
        _RESOURCE,
    )
    initial = metrics.counter(
        "apiserver_init_events_total",
        "Counter of init events processed in watch cache broken by resource type.",
        _RESOURCE,
    )
    loads = metrics.counter(
        "apiserver_watch_cache_initializations_total",
        "Counter of watch cache initializations broken by resource type.",
        _RESOURCE,
    )
    consistent = metrics.counter(
        "apiserver_watch_cache_consistent_read_total",
        "Counter for consistent reads from cache.",
        (*_RESOURCE, "success", "fallback"),
    )
    revisions = metrics.gauge(
        "apiserver_watch_cache_resource_version",
        "Current resource version of watch cache broken by resource type.",
        _RESOURCE,
    )
    terminated = metrics.counter(
        "apiserver_terminated_watchers_total",
        "Counter of watchers closed due to unresponsiveness broken by resource type.",
        _RESOURCE,
    )
    sent = metrics.counter("apiserver_watch_events_total", "Number of events sent in watch clients", _VERSION)
    sent_sizes = metrics.histogram(
        "apiserver_watch_events_sizes",
        "Watch event size distribution in bytes",
        _VERSION,
        EVENT_SIZES,
    )

    def refresh() -> None:
        for (_, resource), handler in tuple(handlers.items()):
            kind, cache = handler.kind, handler.cache
            objects.set(len(cache), kind.group, resource)
            sizes.set(cache.size_bytes, kind.group, resource)
            older.set(len(cache), f"{resource}.{kind.group}" if kind.group else resource)
            watchers.set(cache.watchers, kind.group, kind.version, kind.kind)
            revisions.set(cache.revision, kind.group, resource)
            if cache.received:
                received.set(cache.received, kind.group, resource)
                cached.set(cache.received, kind.group, resource)
                dispatched.set(cache.received, kind.group, resource)
            loads.set(cache.loads, kind.group, resource)
            if cache.initial_events:
                initial.set(cache.initial_events, kind.group, resource)
            for success, count in zip(("false", "true"), cache.consistent_lists, strict=True):
                if count:
                    consistent.set(count, kind.group, resource, success, "false")
            if cache.watchers_lost:
                terminated.set(cache.watchers_lost, kind.group, resource)
            told = sum(cache.sent.counts)
            if told:
                sent.set(told, kind.group, kind.version, resource)
                sent_sizes.show(cache.sent, kind.group, kind.version, resource)

    metrics.before_collection(refresh)
