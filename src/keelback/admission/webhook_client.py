"""Calling webhooks over HTTPS: by URL, or by Service with the Service's name in the certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from keelback.admission.webhook_credentials import WebhookCredentials
from keelback.admission.webhook_reviews import WebhookFailure
from keelback.admission.webhooks import AnsweredWithError
from keelback.api.admissionregistration_v1 import WebhookClientConfig
from keelback.apimachinery import errors
from keelback.client.server_answers import said
from keelback.concurrency.outside import outside

if TYPE_CHECKING:
    import aiohttp

# Where a Service's port leads: namespace, name and port in, an address to connect to out. Raises NotFound, or
# WebhookFailure saying why there is no way.
ResolveService = Callable[[str, str, int], Awaitable[tuple[str, int]]]

LocalWebhook = Callable[[bytes], Awaitable[bytes]]
"""Takes a review and gives its answer."""

_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_KEPT_CONTEXTS = 256


class HTTPSWebhookCaller:
    """Keeps connections between calls. `close` it when the server stops. Services are reached by `make_socket`'s.

    `local` are webhooks of this process, by the host in their URL: no network is between.
    """

    def __init__(
        self,
        resolve_service: ResolveService,
        make_socket: Callable[[], socket.socket] | None = None,
        local: Mapping[str, LocalWebhook] = MappingProxyType({}),
    ) -> None:
        self._resolve_service = resolve_service
        self._make_socket = make_socket
        self._local = local
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._contexts: dict[tuple[bytes, int | None, str | None], ssl.SSLContext] = {}

    def acting_as(self, credentials: WebhookCredentials) -> ActingCaller:
        """The same for webhooks that want to know who calls."""
        return ActingCaller(self, credentials)

    async def call(
        self,
        config: WebhookClientConfig,
        url: str,
        body: bytes,
        timeout_seconds: float,
        credentials: WebhookCredentials | None = None,
    ) -> bytes:
        """POST the review and return the answer's body. Raises WebhookFailure."""
        if self._local and config.service is None:
            local = self._local.get(urlsplit(url).hostname or "")
            if local is not None:
                return await _answer_of(local, body, timeout_seconds)
        with outside(timeout_seconds):
            return await self._post(config, url, body, timeout_seconds, credentials)

    async def _post(
        self,
        config: WebhookClientConfig,
        url: str,
        body: bytes,
        timeout_seconds: float,
        credentials: WebhookCredentials | None,
    ) -> bytes:
        # Here, not above: a cluster without webhooks need not pay 0.1 s and 13 MB for it at its start.
        import aiohttp

        target, server_name = url, None
        if config.service is not None:
            service = config.service
            try:
                host, port = await self._resolve_service(service.namespace, service.name, service.port)
            except errors.NotFound:
                raise WebhookFailure(f'service "{service.name}" not found') from None
            address = f"[{host}]" if ":" in host else host
            target = urlunsplit(urlsplit(url)._replace(netloc=f"{address}:{port}"))
            server_name = f"{service.name}.{service.namespace}.svc"
        session = self._session(to_service=config.service is not None)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if server_name is not None:
            headers["Host"] = server_name
        user = None if credentials is None else credentials.user_for(_host_and_port(config, url))
        try:
            if credentials is not None and user is not None:
                headers.update(credentials.headers(user))
            async with session.post(
                target,
                data=body,
                headers=headers,
                ssl=self._context(config.ca_bundle, credentials, user),
                server_hostname=server_name,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                answer = await response.content.read(_MAX_ANSWER_BYTES)
                while not response.content.at_eof() and len(answer) < _MAX_ANSWER_BYTES:
                    answer += await response.content.read(_MAX_ANSWER_BYTES - len(answer))
                if not 200 <= response.status <= 206:
                    raise AnsweredWithError(said(response.status, response.content_type, answer), response.status)
                return answer
        except TimeoutError:
            raise WebhookFailure("context deadline exceeded") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise WebhookFailure(certificate_problem(error.certificate_error)) from error
        except aiohttp.ClientConnectorError as error:
            raise WebhookFailure(_connection_problem(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise WebhookFailure(str(error) or "EOF") from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    def _session(self, *, to_service: bool) -> aiohttp.ClientSession:
        """The connections to Services, or those to all else: pods may live in a network of their own."""
        import aiohttp

        session = self._sessions.get(to_service)
        if session is None:
            make_socket = self._make_socket if to_service else None
            factory = None if make_socket is None else lambda address: make_socket()
            connector = aiohttp.TCPConnector(socket_factory=factory)
            session = self._sessions[to_service] = aiohttp.ClientSession(connector=connector)
        return session

    def _context(self, ca_bundle: bytes, credentials: WebhookCredentials | None, user: str | None) -> ssl.SSLContext:
        key = (ca_bundle, None if user is None else id(credentials), user)
        context = self._contexts.get(key)
        if context is not None:
            return context
        try:
            context = ssl.create_default_context(cadata=ca_bundle.decode() if ca_bundle else None)
            if credentials is not None and user is not None:
                credentials.present(user, context)
        except (ssl.SSLError, ValueError) as error:
            # A bundle that is no certificate is stored without complaint; here is where it shows.
            raise WebhookFailure("unable to load root certificates: unable to parse bytes as PEM block") from error
        if len(self._contexts) >= _KEPT_CONTEXTS:
            self._contexts.clear()
        self._contexts[key] = context
        return context


class ActingCaller:
    """Calls as the users that credentials name."""

    def __init__(self, caller: HTTPSWebhookCaller, credentials: WebhookCredentials) -> None:
        self._caller = caller
        self._credentials = credentials

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        """See `HTTPSWebhookCaller`."""
        return await self._caller.call(config, url, body, timeout_seconds, self._credentials)


def _host_and_port(config: WebhookClientConfig, url: str) -> str:
    """What a webhook goes by in a kubeconfig."""
    if config.service is not None:
        return f"{config.service.name}.{config.service.namespace}.svc:{config.service.port}"
    where = urlsplit(url)
    return where.netloc if where.port else f"{where.netloc}:443"


async def _answer_of(local: LocalWebhook, body: bytes, timeout_seconds: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await local(body)
    except TimeoutError:
        raise WebhookFailure("context deadline exceeded") from None
    except Exception as error:  # the edge to somebody's function: as a server of its own would answer
        raise AnsweredWithError(f"{type(error).__name__}: {error}", 500) from error


def certificate_problem(error: Exception) -> str:
    """A certificate that is not accepted, in Go's words where there are some."""
    code = getattr(error, "verify_code", None)
    said = {
        10: "x509: certificate has expired or is not yet valid",
        18: "x509: certificate signed by unknown authority",
        19: "x509: certificate signed by unknown authority",
        20: "x509: certificate signed by unknown authority",
        21: "x509: certificate signed by unknown authority",
        62: "x509: certificate is not valid for the name of the server",
    }.get(code or 0, str(error))
    return f"tls: failed to verify certificate: {said}"


def _connection_problem(error: aiohttp.ClientConnectorError) -> str:
    words = {
        "ConnectionRefusedError": "connect: connection refused",
        "gaierror": "no such host",
        "TimeoutError": "i/o timeout",
    }.get(type(error.os_error).__name__, str(error.os_error))
    if words == "no such host":
        return f"dial tcp: lookup {error.host}: no such host"
    return f"dial tcp {error.host}:{error.port}: {words}"
