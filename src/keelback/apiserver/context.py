"""What travels with a request through the server: who asks for what, and the warnings gathered on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from keelback.apimachinery.yaml import YAMLError
from keelback.apiserver.audited_request import RequestAudit
from keelback.apiserver.request_info import RequestInfo
from keelback.auth.attributes import Attributes
from keelback.auth.users import UserInfo
from keelback.component.http import Request, query_values


def _nothing() -> None:
    """What is done where nobody waits for a watch to have begun."""


def _half_an_hour() -> float:
    return 1800.0


class RequestContext(msgspec.Struct):
    """One request inside the server. `now` is its one idea of the present."""

    request: Request
    info: RequestInfo
    user: UserInfo
    now: datetime
    warnings: list[str] = []
    audit: RequestAudit | None = None
    """The record of the request, where the audit policy wants one."""
    audit_annotations: dict[str, str] = {}
    """What admission wants to be noted."""
    read_yaml: tuple[Any, list[str]] | YAMLError | None = None
    """A large YAML body, where `yaml_bodies` has read it ahead."""
    timeout_seconds: float = 60.0
    """How long the request may take, where it is not long-running."""
    answer_headers: Mapping[str, str] = {}
    """Headers of the answer, whichever it is."""
    watch_seconds: Callable[[], float] = _half_an_hour
    """How long a watch lasts where its client leaves that to the server."""
    initialized: Callable[[], None] = _nothing
    """To be called once a watch has sent its initial events."""
    deprecation: str = ""
    """What was said of what is asked for, where it will not be there for ever."""
    is_terminated: bool = False
    """Whether the server gave the request up to save itself."""
    _query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the first value of each."""
        if self._query is None:
            self._query = query_values(self.request.query)
        return self._query

    def attributes(self) -> Attributes:
        """The action that this request is, for authorizers."""
        info = self.info
        return Attributes(
            self.user,
            info.verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            info.namespace,
            info.name,
            info.path,
            info.is_resource_request,
            info.label_selector,
            info.field_selector,
        )

    @property
    def media_type(self) -> str:
        """What the body is said to be, without parameters. Where nothing is said it is JSON."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower() or "application/json"

    def warn(self, text: str) -> None:
        """Add a Warning header, once per text."""
        if text not in self.warnings:
            self.warnings.append(text)

    def warn_of_deprecation(self, text: str) -> None:
        """Say, to the client and the audit log, that what is asked for will not be there for ever."""
        self.warn(text)
        self.deprecation = text
        if self.audit is not None:
            self.audit.deprecated(text)

    @property
    def field_manager(self) -> str:
        """The manager that this write is recorded under: the one given, else the client's name (User-Agent up to /)."""
        given = self.query.get("fieldManager", "")
        return given or self.request.headers.get("user-agent", "").split("/", 1)[0][:128] or "unknown"
