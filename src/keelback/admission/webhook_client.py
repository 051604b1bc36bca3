"""Calling webhooks over HTTPS: by URL, or by Service with the Service's name in the certificate."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from keelback.admission.webhooks import WebhookFailure
from keelback.api.admissionregistration_v1 import WebhookClientConfig
from keelback.apimachinery import errors

if TYPE_CHECKING:
    import aiohttp

# Where a Service's port leads: namespace, name and port in, an address to connect to out. Raises NotFound, or
# WebhookFailure saying why there is no way.
ResolveService = Callable[[str, str, int], Awaitable[tuple[str, int]]]

_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_KEPT_CONTEXTS = 256


class HTTPSWebhookCaller:
    """Keeps connections between calls. `close` it when the server stops."""

    def __init__(self, resolve_service: ResolveService) -> None:
        self._resolve_service = resolve_service
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    async def call(self, config: WebhookClientConfig, url: str, body: bytes, timeout_seconds: float) -> bytes:
        """POST the review and return the answer's body. Raises WebhookFailure."""
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
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if server_name is not None:
            headers["Host"] = server_name
        try:
            async with self._session.post(
                target,
                data=body,
                headers=headers,
                ssl=self._context(config.ca_bundle),
                server_hostname=server_name,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                answer = await response.content.read(_MAX_ANSWER_BYTES)
                if response.status != 200:
                    raise WebhookFailure(f"an error on the server answered with status {response.status}")
                return answer
        except TimeoutError:
            raise WebhookFailure("context deadline exceeded") from None
        except (aiohttp.ClientError, OSError) as error:
            raise WebhookFailure(str(error)) from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _context(self, ca_bundle: bytes) -> ssl.SSLContext:
        context = self._contexts.get(ca_bundle)
        if context is not None:
            return context
        try:
            context = ssl.create_default_context(cadata=ca_bundle.decode() if ca_bundle else None)
        except (ssl.SSLError, ValueError) as error:
            # A bundle that is no certificate is stored without complaint; here is where it shows.
            raise WebhookFailure("unable to load root certificates: unable to parse bytes as PEM block") from error
        if len(self._contexts) >= _KEPT_CONTEXTS:
            self._contexts.clear()
        self._contexts[ca_bundle] = context
        return context
