"""AlwaysAdmit, AlwaysDeny and JobValidation: plugins that look at nothing. The first two are deprecated upstream."""

from __future__ import annotations

from typing import Any

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation


class AlwaysAdmit(AdmissionPlugin):
    """Changes nothing and refuses nothing."""

    name = "AlwaysAdmit"
    operations = frozenset()


class JobValidation(AdmissionPlugin):
    """Refuses nothing: it is about Jobs with PodGroups, of the gate WorkloadWithJob, which this server refuses."""

    name = "JobValidation"
    operations = frozenset()


class AlwaysDeny(AdmissionPlugin):
    """Refuses whatever would change or reach anything, for tests."""

    name = "AlwaysDeny"
    operations = frozenset(Operation)

    async def admit(self, request: AdmissionRequest) -> Any:
        raise request.forbidden("admission control is denying all modifications")

    async def validate(self, request: AdmissionRequest) -> None:
        raise request.forbidden("admission control is denying all modifications")
