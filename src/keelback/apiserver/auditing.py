"""Auditing: asks the policy about each request, and begins the record of those that are to be noted.

It stands behind authentication and before impersonation. Without a policy nothing is asked at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from keelback.apimachinery import errors
from keelback.apiserver.audited_request import HEADER, AuditSink, RequestAudit
from keelback.apiserver.context import RequestContext
from keelback.audit import delivery
from keelback.audit.backends import AuditMetrics, Union
from keelback.audit.options import AuditOptions
from keelback.audit.policy import Level, Policy, Stage
from keelback.auth.attributes import Attributes
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock


class Auditor:
    """One policy, and where its events go."""

    def __init__(self, policy: Policy, sink: AuditSink, new_id: Callable[[], str]) -> None:
        self._policy = policy
        self._sink = sink
        self._new_id = new_id

    @property
    def backend(self) -> Union:
        """Where events go: it wants to run, and to be closed last."""
        return self._sink.backend

    async def begin(self, context: RequestContext, attributes: Attributes) -> None:
        """Note that the request is here. Raises InternalError where it cannot be noted and must be."""
        record = self._record(context, attributes, is_known=True)
        if record is not None and not await record.emit(Stage.REQUEST_RECEIVED):
            self._sink.metrics.rejected.inc()
            context.audit = None
            raise errors.InternalError("Internal error occurred: failed to store audit event")

    def refused(self, context: RequestContext) -> None:
        """Begin the record of a request whose caller could not be authenticated: it has one event, the answer's."""
        self._record(context, context.attributes(), is_known=False)

    def _record(self, context: RequestContext, attributes: Attributes, *, is_known: bool) -> RequestAudit | None:
        noted = self._policy.evaluate(attributes, is_known=is_known)
        self._sink.metrics.levels.inc(noted.level.value)
        if noted.level is Level.NONE:
            return None
        context.audit = RequestAudit(
            self._sink,
            noted,
            context.request.headers.get(HEADER) or self._new_id(),
            context.request,
            context.info,
            context.user if is_known else None,
            context.now,
            context.audit_annotations,
        )
        return context.audit


def auditor(
    options: AuditOptions, new_id: Callable[[], str], metrics: Registry, clock: Clock, chance: random.Random
) -> Auditor | None:
    """What the flags ask for; None where nothing is to be noted. Raises AuditError."""
    policy = delivery.policy(options)
    if policy is None:
        return None
    counted = AuditMetrics(metrics)
    backend = delivery.backend(options, clock, chance, counted)
    return Auditor(policy, AuditSink(backend, counted, clock), new_id)
