"""The serviceaccount controller: every namespace has a `default` ServiceAccount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api.core_v1 import Namespace, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

NAMES = ("default",)


def missing(namespace: Namespace, held: Sequence[str]) -> tuple[str, ...]:
    """The names of the accounts the namespace still lacks; one that is going needs none."""
    if namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating":
        return ()
    return tuple(name for name in NAMES if name not in held)


@dataclass(frozen=True, slots=True)
class ServiceAccountReconciler:
    """Makes what is missing."""

    context: Context
    name: ClassVar = "serviceaccount-controller"
    role: ClassVar = "service-account-controller"
    component: ClassVar = "service-account-controller"
    kind: ClassVar = Namespace
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(ServiceAccount, lambda account: [("", account.metadata.namespace)]),)

    async def reconcile(self, namespace: Namespace) -> Result:
        name = namespace.metadata.name
        store = self.context.caches.store(ServiceAccount)
        held = [wanted for wanted in NAMES if store.get(name, wanted) is not None]
        for wanted in missing(namespace, held):
            try:
                await self.context.client.create(ServiceAccount(metadata=ObjectMeta(name=wanted, namespace=name)))
            except errors.AlreadyExists:
                continue
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    raise
        return DONE
