"""Whether the server behind an APIService answers: kube-aggregator's discovery check."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from keelback.api.apiregistration_v1 import APIServiceSpec, ServiceReference
from keelback.apiserver import request_header_identity
from keelback.apiserver.api_service_proxy import reason
from keelback.apiserver.api_service_routing import CertificateProblem, Dialling, NoRouteError
from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from keelback.component.http import Request

ATTEMPTS: Final = 5
PROBER: Final = UserInfo("system:kube-aggregator", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
"""Who asks for discovery: somebody who may read it anywhere."""
_SECONDS: Final = 5.0


async def probe(dialling: Dialling, spec: APIServiceSpec, path: str) -> str:
    """What is wrong with the server; nothing is where one of several attempts, each at any endpoint, succeeds.

    Its certificate is not verified: who could answer in its place gains nothing by saying that it is well.
    """
    assert spec.service is not None
    try:
        context = dialling.context(spec, verifies=False)
    except CertificateProblem as problem:
        return str(problem)
    said = await _attempt(dialling, spec.service, context, path)
    if not said:
        return ""
    results = await asyncio.gather(*(_attempt(dialling, spec.service, context, path) for _ in range(ATTEMPTS - 1)))
    return "" if "" in results else results[-1]


async def _attempt(dialling: Dialling, reference: ServiceReference, context: ssl.SSLContext, path: str) -> str:
    try:
        target = await dialling.routing.target(reference)
    except NoRouteError as error:
        return str(error)
    url = f"https://{target}{path}"
    transport = dialling.transport(reference, target, context)
    request = Request("GET", path, header_lines=request_header_identity.identity(PROBER))
    try:
        # Only the head is read: there may be much of the rest.
        async with transport.stream(request, timeout_seconds=_SECONDS) as answer:
            status = answer.status
    except TimeoutError:
        return f'failing or missing response from {url}: Get "{url}": context deadline exceeded'
    except OSError as error:
        return f'failing or missing response from {url}: Get "{url}": {reason(error, str(target))}'
    finally:
        await transport.close()
    if not 200 <= status <= 299:
        return f"failing or missing response from {url}: bad status from {url}: {status}"
    return ""
