"""What probes and lifecycle hooks may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import Container, HTTPGetAction, LifecycleHandler, Probe
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required

_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_ONE_HANDLER: Final = "may not specify more than 1 handler type"


def validate_all(container: Container, grace_period_seconds: int, path: str) -> Iterator[FieldError]:
    """Everything wrong with a container's hooks and probes."""
    if container.lifecycle is not None:
        for field, handler in (
            ("postStart", container.lifecycle.post_start),
            ("preStop", container.lifecycle.pre_stop),
        ):
            if handler is not None:
                yield from _handler(handler, grace_period_seconds, f"{path}.lifecycle.{field}")
    if container.liveness_probe is not None:
        yield from _probe(container.liveness_probe, f"{path}.livenessProbe", succeeds_once=True)
    readiness = container.readiness_probe
    if readiness is not None:
        yield from _probe(readiness, f"{path}.readinessProbe", succeeds_once=False)
        if readiness.termination_grace_period_seconds is not None:
            yield invalid(
                f"{path}.readinessProbe.terminationGracePeriodSeconds",
                readiness.termination_grace_period_seconds,
                "must not be set for readinessProbes",
            )
    if container.startup_probe is not None:
        yield from _probe(container.startup_probe, f"{path}.startupProbe", succeeds_once=True)


def _probe(probe: Probe, path: str, *, succeeds_once: bool) -> Iterator[FieldError]:
    yield from _handler(probe, 0, path)
    for field, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        if value < 0:
            yield invalid(f"{path}.{field}", value, _NOT_NEGATIVE)
    grace = probe.termination_grace_period_seconds
    if grace is not None and grace <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if succeeds_once and probe.success_threshold != 1:
        yield invalid(f"{path}.successThreshold", probe.success_threshold, "must be 1")


def _handler(handler: Probe | LifecycleHandler, grace_period_seconds: int, path: str) -> Iterator[FieldError]:
    count = 0
    if handler.exec is not None:
        count += 1
        if not handler.exec.command:
            yield required(f"{path}.exec.command")
    if handler.http_get is not None:
        if count:
            yield forbidden(f"{path}.httpGet", _ONE_HANDLER)
        else:
            count += 1
            yield from _http_get(handler.http_get, f"{path}.httpGet")
    if handler.tcp_socket is not None:
        if count:
            yield forbidden(f"{path}.tcpSocket", _ONE_HANDLER)
        else:
            count += 1
            yield from validate_port(handler.tcp_socket.port, f"{path}.tcpSocket.port")
    if isinstance(handler, Probe):
        if handler.grpc is not None:
            if count:
                yield forbidden(f"{path}.grpc", _ONE_HANDLER)
            else:
                count += 1
                yield from validate_port(handler.grpc.port, f"{path}.grpc.port")
    elif handler.sleep is not None:
        if count:
            yield forbidden(f"{path}.sleep", _ONE_HANDLER)
        else:
            count += 1
            yield from _sleep(handler.sleep.seconds, grace_period_seconds, f"{path}.sleep")
    if not count:
        yield required(path, "must specify a handler type")


def _sleep(seconds: int, grace_period_seconds: int, path: str) -> Iterator[FieldError]:
    if not 0 <= seconds <= grace_period_seconds:
        yield invalid(
            path,
            seconds,
            f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period_seconds})",
        )


def _http_get(action: HTTPGetAction, path: str) -> Iterator[FieldError]:
    if not action.path:
        yield required(f"{path}.path")
    yield from validate_port(action.port, f"{path}.port")
    if action.scheme not in ("HTTP", "HTTPS"):
        yield not_supported(f"{path}.scheme", action.scheme, ("HTTP", "HTTPS"))
    for header in action.http_headers:
        for complaint in names.http_header_name(header.name):
            yield invalid(f"{path}.httpHeaders", header.name, complaint)


def validate_port(port: int | str, path: str) -> Iterator[FieldError]:
    """Everything wrong with a port's number or name."""
    complaints = names.port_number(port) if isinstance(port, int) else names.port_name(port)
    for complaint in complaints:
        yield invalid(path, port, complaint)
