"""The types of apiregistration/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import ListMap, Object, Time, Value, kind, named, written


class APIServiceSpec(Value):
    ca_bundle: bytes = b""
    group: str = ""
    group_priority_minimum: int = written(0)
    insecure_skip_tls_verify: bool = named("insecureSkipTLSVerify", False)
    service: ServiceReference | None = None
    version: str = ""
    version_priority: int = written(0)


class APIServiceStatus(Value):
    conditions: Annotated[tuple[APIServiceCondition, ...], ListMap("type", merge_key="type")] = ()


@kind("apiregistration.k8s.io/v1", "apiservices", namespaced=False, categories=("api-extensions",))
class APIService(Object):
    spec: APIServiceSpec = written(APIServiceSpec())
    status: APIServiceStatus = written(APIServiceStatus())


class APIServiceCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class ServiceReference(Value):
    name: str = ""
    namespace: str = ""
    port: int = written(443)
