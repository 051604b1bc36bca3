"""What a connection is asked for, as admission sees it: PodExecOptions and its like, read from the query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from keelback.apimachinery.meta import Kind, Value, make_kind, written
from keelback.apiserver.context import RequestContext
from keelback.component.http import parse_query, query_flag


class PodExecOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "PodExecOptions", "podexecoptions")
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""
    command: tuple[str, ...] = written(())


class PodAttachOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "PodAttachOptions", "podattachoptions")
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""


class PodPortForwardOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "PodPortForwardOptions", "podportforwardoptions")
    ports: tuple[int, ...] = ()


class PodProxyOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "PodProxyOptions", "podproxyoptions")
    path: str = ""


class ServiceProxyOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "ServiceProxyOptions", "serviceproxyoptions")
    path: str = ""


class NodeProxyOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "NodeProxyOptions", "nodeproxyoptions")
    path: str = ""


Streams = PodExecOptions | PodAttachOptions
Proxied = PodProxyOptions | ServiceProxyOptions | NodeProxyOptions


def exec_options(context: RequestContext) -> PodExecOptions:
    """The options of an exec."""
    given = parse_query(context.request.query)
    stdin, stdout, stderr, tty = _streams(given)
    return PodExecOptions(
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        tty=tty,
        container=context.query.get("container", ""),
        command=tuple(value for name, value in given if name == "command"),
    )


def attach_options(context: RequestContext) -> PodAttachOptions:
    """The options of an attach."""
    stdin, stdout, stderr, tty = _streams(parse_query(context.request.query))
    container = context.query.get("container", "")
    return PodAttachOptions(stdin=stdin, stdout=stdout, stderr=stderr, tty=tty, container=container)


def port_forward_options(context: RequestContext) -> PodPortForwardOptions:
    """The options of a port-forward."""
    given = (value for name, value in parse_query(context.request.query) if name == "ports")
    return PodPortForwardOptions(ports=tuple(int(one) for text in given for one in text.split(",") if one.isdigit()))


def _streams(given: Iterable[tuple[str, str]]) -> tuple[bool, bool, bool, bool]:
    flags = {name: query_flag(value) for name, value in given if name in ("stdin", "stdout", "stderr", "tty")}
    return flags.get("stdin", False), flags.get("stdout", False), flags.get("stderr", False), flags.get("tty", False)


def kubelet_query(options: Streams) -> list[tuple[str, str]]:
    """The query of the kubelet's own exec and attach, which has other names for the streams and knows only 1."""
    flags = (("input", options.stdin), ("output", options.stdout), ("error", options.stderr), ("tty", options.tty))
    query = [(name, "1") for name, wanted in flags if wanted]
    if isinstance(options, PodExecOptions):
        query.extend(("command", one) for one in options.command)
    return query
