"""The root CA certificate publisher: every namespace has the ConfigMap by which its pods verify the API server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api.core_v1 import ConfigMap, Namespace
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers.observed import ConfigMapName
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Work, powers
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

SYNCS = Work(
    "root_ca_cert_publisher_sync_total",
    "Number of namespace syncs happened in root ca cert publisher.",
    "root_ca_cert_publisher_sync_duration_seconds",
    "Number of namespace syncs happened in root ca cert publisher.",
    ("code",),
    powers(0.001, 2, 15),
)
CONFIG_MAP = "kube-root-ca.crt"
KEY = "ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


@dataclass(frozen=True, slots=True)
class RootCAReconciler:
    """Makes the ConfigMap where it is missing and mends it where it was changed."""

    context: Context
    root_ca: str
    name: ClassVar = "root-ca-certificate-publisher-controller"
    role: ClassVar = "root-ca-cert-publisher"
    component: ClassVar = "root-ca-cert-publisher"
    kind: ClassVar = Namespace
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(ConfigMapName, _namespace_of),)

    async def reconcile(self, namespace: Namespace) -> Result:
        started, code = self.context.clock.monotonic(), "500"
        try:
            result = await self._publish(namespace)
            code = "200"
        except errors.StatusError as error:
            code = str(error.code)
            raise
        finally:
            self.context.metrics.done(SYNCS, self.context.clock.monotonic() - started, code)
        return result

    async def _publish(self, namespace: Namespace) -> Result:
        if namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating":
            return DONE
        name = namespace.metadata.name
        wanted = self._wanted(name)
        if self.context.caches.store(ConfigMapName).get(name, CONFIG_MAP) is None:
            try:
                await self.context.client.create(wanted)
            except errors.StatusError as error:
                if not is_namespace_terminating(error) and not isinstance(error, errors.AlreadyExists):
                    raise
            return DONE
        # Writing what is there already changes nothing and wakes nobody, so that there is no need to read it first.
        await self.context.client.update(wanted)
        return DONE

    def _wanted(self, namespace: str) -> ConfigMap:
        metadata = ObjectMeta(
            name=CONFIG_MAP, namespace=namespace, annotations={"kubernetes.io/description": DESCRIPTION}
        )
        return ConfigMap(metadata=metadata, data={KEY: self.root_ca})


def _namespace_of(config_map: ConfigMapName) -> list[tuple[str, str]]:
    return [("", config_map.metadata.namespace)] if config_map.metadata.name == CONFIG_MAP else []
