"""A proxy in front says who calls, in headers, and proves by its certificate that it is the proxy.

Whoever can choose a user may be anybody: so the authority of proxies' certificates signs no others, or the names that
proxies may have are listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.certificates import CertificateAuthenticator
from keelback.auth.users import UserInfo
from keelback.component.http import Request, header_values
from keelback.concurrency.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaderSettings:
    """`--requestheader-client-ca-file` and what belongs to it. Headers are told apart without regard to case."""

    ca_pem: bytes
    allowed_names: tuple[str, ...] = ()
    """The common names that proxies may have; any if there are none."""
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ("X-Remote-Uid",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_header_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


class RequestHeaderAuthenticator:
    """Believes the headers of a proxy with the right certificate, and of nobody else."""

    def __init__(self, settings: RequestHeaderSettings, clock: Clock) -> None:
        """Raises ValueError for an authority that is no certificate."""
        self._certificates = CertificateAuthenticator(settings.ca_pem, clock)
        self._allowed_names = frozenset(settings.allowed_names)
        self._users = _lowered(settings.username_headers)
        self._uids = _lowered(settings.uid_headers)
        self._groups = _lowered(settings.group_headers)
        self._prefixes = _lowered(settings.extra_header_prefixes)

    async def authenticate(self, request: Request) -> Authenticated | None:
        if request.peer_certificate is None:
            return None
        # Before the certificate, which most often is somebody's own: those requests need not pay for proxies.
        name = _first(request, self._users)
        if not name:
            return None
        proxy = self._certificates.identify(request.peer_certificate)
        common_name = "" if proxy is None else proxy.name
        if self._allowed_names and common_name not in self._allowed_names:
            raise AuthenticationFailed(f"x509: subject with cn={common_name} is not allowed")
        groups = tuple(value for header in self._groups for value in header_values(request, header) if value)
        return Authenticated(UserInfo(name, _first(request, self._uids), groups, self._extra(request)))

    def _extra(self, request: Request) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for prefix in self._prefixes:
            for header in request.headers:
                if header.startswith(prefix):
                    key = unquote(header[len(prefix) :]).lower()
                    found[key] = (*found.get(key, ()), *header_values(request, header))
        return found


def _lowered(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in names)


def _first(request: Request, headers: Iterable[str]) -> str:
    """The first header with a value wins, and its first line."""
    for header in headers:
        values = header_values(request, header)
        if values and values[0]:
            return values[0]
    return ""
