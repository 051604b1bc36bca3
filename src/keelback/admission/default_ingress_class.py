"""DefaultIngressClass: an ingress that names no class gets the default one, if there is one."""

from __future__ import annotations

from keelback.admission.newest import newest
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.networking_v1 import Ingress, IngressClass
from keelback.apimachinery.meta import replace

_DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
_LEGACY_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass(AdmissionPlugin):
    """Fills in the class."""

    name = "DefaultIngressClass"
    resources = frozenset({"networking.k8s.io/ingresses"})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: AdmissionRequest) -> Ingress:
        ingress = request.new(Ingress)
        if ingress.spec.ingress_class_name is not None or _LEGACY_CLASS_ANNOTATION in ingress.metadata.annotations:
            return ingress
        classes = await self._reader.list(IngressClass)
        default = newest(one for one in classes if one.metadata.annotations.get(_DEFAULT_ANNOTATION) == "true")
        if default is None:
            return ingress
        return replace(ingress, spec=replace(ingress.spec, ingress_class_name=default.metadata.name))
