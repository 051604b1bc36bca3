"""APIServices."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api import conditions
from keelback.api.apiregistration_v1 import APIService
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.apimachinery.go_text import go_quoted
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_STATUSES = ("True", "False", "Unknown")


def _service(api_service: APIService) -> str:
    service = api_service.spec.service
    return "Local" if service is None else f"{service.namespace}/{service.name}"


def _available(api_service: APIService) -> str:
    found = conditions.find(api_service.status.conditions, "Available")
    if found is None:
        return "Unknown"
    return "True" if found.status == "True" else f"{found.status} ({found.reason})"


class APIServiceStrategy(Strategy[APIService]):
    kind = APIService
    keeps_metadata_in_status = True
    needs_resource_version_to_update = True
    bare_finalizers = True
    checks_metadata_as_new = True
    storage_path = "apiregistration.k8s.io/apiservices"
    subresources = ("status",)
    counts_generations = False
    columns = (text("Service", _service), text("Available", _available), AGE)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # The core group's is "v1.": no DNS name.
        return names.path_segment(name, is_prefix=is_prefix)

    def validate(self, new: APIService) -> Iterator[FieldError]:
        spec = new.spec
        expected = f"{spec.version}.{spec.group}"
        name = new.metadata.name
        if name != expected and not names.path_segment(name):
            yield invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: {go_quoted(expected)}')
        if not spec.group and spec.version != "v1":
            yield required("spec.group", "only v1 may have an empty group and it better be legacy kube")
        for complaint in names.dns1123_subdomain(spec.group) if spec.group else ():
            yield invalid("spec.group", spec.group, complaint)
        for complaint in names.dns1035_label(spec.version):
            yield invalid("spec.version", spec.version, complaint)
        if not 0 < spec.group_priority_minimum <= 20000:
            yield invalid(
                "spec.groupPriorityMinimum", spec.group_priority_minimum, "must be positive and less than 20000"
            )
        if not 0 < spec.version_priority <= 1000:
            yield invalid("spec.versionPriority", spec.version_priority, "must be positive and less than 1000")
        if spec.service is None:
            if spec.ca_bundle:
                yield invalid(
                    "spec.caBundle", f"{len(bytes(spec.ca_bundle))} bytes", "local APIServices may not have a caBundle"
                )
            if spec.insecure_skip_tls_verify:
                yield invalid(
                    "spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify"
                )
            return
        if not spec.service.namespace:
            yield required("spec.service.namespace")
        if not spec.service.name:
            yield required("spec.service.name")
        if spec.insecure_skip_tls_verify and spec.ca_bundle:
            yield invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")

    def validate_status_update(self, new: APIService, old: APIService) -> Iterator[FieldError]:
        for index, one in enumerate(new.status.conditions):
            if one.status not in _STATUSES:
                yield not_supported(f"status.conditions[{index}].status", one.status, _STATUSES, in_given_order=True)
