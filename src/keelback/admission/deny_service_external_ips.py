"""DenyServiceExternalIPs: nobody may claim addresses for a Service that it did not have. Off by default."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import Service


class DenyServiceExternalIPs(AdmissionPlugin):
    """Refuses new external addresses; those a Service already has may stay."""

    name = "DenyServiceExternalIPs"
    resources = frozenset({"services"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    async def validate(self, request: AdmissionRequest) -> None:
        known = request.old_obj.spec.external_ips if isinstance(request.old_obj, Service) else ()
        if not set(request.new(Service).spec.external_ips) <= set(known):
            raise request.forbidden("Use of external IPs is denied by admission control.")
