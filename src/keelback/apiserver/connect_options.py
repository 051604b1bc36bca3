"""What a connection is asked for, as admission sees it: PodExecOptions and its like, read from the query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from keelback.apimachinery import errors
from keelback.apimachinery.go_text import go_quoted
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


class PodLogOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "PodLogOptions", "podlogoptions")


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


def check_log_options(context: RequestContext) -> None:
    """Refuse what no log can be asked for. Raises BadRequest for what is no number, Invalid for numbers too small."""
    query = context.query
    problems = []
    for name, least, problem in _LOG_NUMBERS:
        if name in query and _integer(query[name]) < least:
            problems.append(errors.invalid(name, int(query[name]), problem))
    if "sinceSeconds" in query and "sinceTime" in query:
        problems.append(errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if problems:
        raise errors.Invalid.of(PodLogOptions.__kind__, context.info.name, problems)


_LOG_NUMBERS = (
    ("tailLines", 0, "must be greater than or equal to 0"),
    ("limitBytes", 1, "must be greater than 0"),
    ("sinceSeconds", 1, "must be greater than 0"),
)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise errors.BadRequest(f"strconv.ParseInt: parsing {go_quoted(text)}: invalid syntax")
    return int(text)


_INTEGER = re.compile(r"[+-]?[0-9]+")


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
