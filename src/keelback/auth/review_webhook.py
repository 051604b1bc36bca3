"""A server that is asked by sending it a review, described by a kubeconfig: who is this, may they do that.

The cluster in the kubeconfig is the server, its user is this API server. What passes is tried again, as upstream
(k8s.io/apiserver, DefaultAuthWebhookRetryBackoff): 0.5 s and up, five times in all.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from keelback.client import HTTPSTransport, kubeconfig
from keelback.client.kubeconfig import KubeconfigError
from keelback.client.server_answers import said
from keelback.component.flags import duration_text
from keelback.component.http import Request
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock

REQUEST_SECONDS: Final = 30.0
"""How long one attempt may take, if nothing else is said."""
RETRIES: Final = Backoff(initial_seconds=0.5, factor=1.5, jitter=0.2)
_ATTEMPTS: Final = 5
_WHOLE_SECONDS: Final = 60.0
"""How long all attempts together may take, the wait for a turn included: as long as a request."""
_AT_ONCE: Final = 100
"""Reviews under way at once: whoever makes up tokens must not make this server a flood."""
_PASSING: Final = frozenset((429, 500, 504))
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CLUSTER_FIELDS: Final = frozenset(
    (
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "insecure-skip-tls-verify",
        "tls-server-name",
        "extensions",
    )
)
_USER_FIELDS: Final = frozenset(
    (
        "token",
        "tokenFile",
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "extensions",
    )
)
_HEADERS: Final = {"content-type": "application/json", "accept": "application/json, */*"}

Outcome: TypeAlias = Literal["success", "timeout", "error"]


class ReviewFailed(Exception):
    """The server cannot be asked, or its answer is none. The text is worded as client-go's."""

    def __init__(self, text: str, outcome: Outcome = "error", *, passes: bool = False, code: str = "<error>") -> None:
        super().__init__(text)
        self.outcome = outcome
        self.passes = passes
        """Whether it may be otherwise in a moment."""
        self.code = code
        """The HTTP code, if it got that far."""


class ReviewWebhook:
    """Sends reviews of one kind and version."""

    def __init__(
        self,
        access: kubeconfig.Access,
        api_version: str,
        kind: str,
        clock: Clock,
        chance: random.Random,
        timeout_seconds: float = REQUEST_SECONDS,
        retries: Backoff = RETRIES,
    ) -> None:
        """Raises KubeconfigError for what a server cannot be reached with."""
        self._api_version = api_version
        self._kind = kind
        self._clock = clock
        self._chance = chance
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        _check_is_understood(access)
        self._transport: HTTPSTransport = kubeconfig.transport(access, clock)
        server = str(access.cluster["server"])
        # The transport puts the server's own path before this one.
        self._path = "" if urlsplit(server).path.strip("/") else "/"
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._query = f"timeout={duration_text(timeout_seconds)}"
        self._url = f"{server}?{self._query}"

    async def ask(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status in the answer. Raises ReviewFailed, after the last attempt."""
        try:
            async with asyncio.timeout(_WHOLE_SECONDS), self._turns:
                return await self._attempts(spec)
        except TimeoutError:
            raise ReviewFailed(f'Post "{self._url}": context deadline exceeded', "timeout") from None

    async def _attempts(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        body = msgspec.json.encode({"kind": self._kind, "apiVersion": self._api_version, "spec": spec})
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._attempt(body)
            except ReviewFailed as failure:
                if not failure.passes or attempt == _ATTEMPTS:
                    raise
            await self._clock.sleep(self._retries.delay(attempt, self._chance))
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._transport.close()

    async def _attempt(self, body: bytes) -> Mapping[str, Any]:
        request = Request("POST", self._path, self._query, _HEADERS, body)
        try:
            response = await self._transport.send(request, timeout_seconds=self._timeout_seconds)
        except TimeoutError:
            raise ReviewFailed(
                f'Post "{self._url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
                "timeout",
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise ReviewFailed(
                f'Post "{self._url}": tls: failed to verify certificate: x509: {error.verify_message}'
            ) from error
        except ConnectionRefusedError as error:
            where = self._transport.address
            raise ReviewFailed(f'Post "{self._url}": dial tcp {where}: connect: connection refused') from error
        except (OSError, ValueError) as error:
            passes = isinstance(error, ConnectionResetError)
            why = "read: connection reset by peer" if passes else str(error) or type(error).__name__
            raise ReviewFailed(f'Post "{self._url}": {why}', passes=passes) from error
        content = response.content()
        if not 200 <= response.status <= 206:
            text = _error_text(response.status, response.headers.get("content-type", ""), content)
            outcome: Outcome = "timeout" if response.status == 504 else "error"
            raise ReviewFailed(text, outcome, passes=response.status in _PASSING, code=str(response.status))
        return self._status(content)

    def _status(self, content: bytes) -> Mapping[str, Any]:
        if len(content) > _MAX_ANSWER_BYTES:
            raise ReviewFailed("the answer is too large")
        try:
            tree = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReviewFailed(f"couldn't get version/kind; json parse error: {error}") from error
        if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != (self._api_version, self._kind):
            shown = (tree.get("kind"), tree.get("apiVersion")) if isinstance(tree, dict) else (None, None)
            wanted = f"{self._kind} of {self._api_version}"
            raise ReviewFailed(f'the answer is a "{shown[0]}" of "{shown[1]}", not a {wanted}')
        status = tree.get("status")
        return status if isinstance(status, dict) else {}


def _check_is_understood(access: kubeconfig.Access) -> None:
    """Nothing that a kubeconfig asks for is passed over: a proxy, a password. Raises KubeconfigError."""
    for entry, known in ((access.cluster, _CLUSTER_FIELDS), (access.user, _USER_FIELDS)):
        for name, value in entry.items():
            if value and name not in known:
                raise KubeconfigError(f"context {access.context}: {name} is not supported for a webhook")


def _error_text(code: int, content_type: str, body: bytes) -> str:
    try:
        tree = msgspec.json.decode(body)
        if isinstance(tree, dict) and tree.get("kind") == "Status" and isinstance(tree.get("message"), str):
            return str(tree["message"])
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return said(code, content_type, body)


def in_cluster_access() -> kubeconfig.Access:
    """The API server of the cluster in which this process is a pod, as its service account. Raises KubeconfigError."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not port:
        raise KubeconfigError(
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"
            " must be defined"
        )
    shown = f"[{host}]" if ":" in host else host
    return kubeconfig.Access(
        "in-cluster",
        {
            "server": f"https://{shown}:{port}/apis/authorization.k8s.io/v1/subjectaccessreviews",
            "certificate-authority": "ca.crt",
        },
        {"tokenFile": "token"},
        "default",
        _ACCOUNT,
    )
