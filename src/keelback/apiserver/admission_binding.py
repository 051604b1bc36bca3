"""Admission bound to one request: what ResourceStore asks of the chain of plugins."""

from __future__ import annotations

from functools import partial
from typing import Any

from keelback.admission.plugin import AdmissionChain, AdmissionRequest, Operation
from keelback.apimachinery.meta import Kind
from keelback.apiserver.admission_options import options_tree
from keelback.apiserver.context import RequestContext


class BoundAdmission:
    """The chain, for one request of one user."""

    def __init__(
        self, chain: AdmissionChain, context: RequestContext, kind: Kind, subresource: str, dry_run: bool
    ) -> None:
        self._chain = chain
        self._context = context
        self._kind = kind
        self._subresource = subresource
        self._dry_run = dry_run

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        return (await self._chain.admit(self._request(operation, obj, old))).obj

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        await self._chain.validate(self._request(operation, obj, old))

    def _request(self, operation: str, obj: Any, old: Any) -> AdmissionRequest:
        subject = obj if obj is not None else old
        metadata = getattr(subject, "metadata", None)
        info = self._context.info
        return AdmissionRequest(
            operation=Operation(operation),
            kind=self._kind,
            user=self._context.user,
            verb=info.verb,
            subresource=self._subresource,
            namespace=(metadata.namespace if metadata is not None else "") or info.namespace,
            name=(metadata.name if metadata is not None else "") or info.name,
            obj=obj,
            old_obj=old,
            options=partial(options_tree, self._context, operation),
            dry_run=self._dry_run,
            warnings=self._context.warnings,
            audit_annotations=self._context.audit_annotations,
        )


class AdmissionBinder:
    """Makes bound admissions. The chain is set once the caches it reads from exist."""

    def __init__(self) -> None:
        self.chain = AdmissionChain(())

    def bind(self, context: RequestContext, kind: Kind, *, subresource: str, dry_run: bool) -> BoundAdmission:
        return BoundAdmission(self.chain, context, kind, subresource, dry_run)
