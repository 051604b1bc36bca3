"""The types of rbac/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Atomic, LabelSelector, Object, Value, defaulted, kind, named, written


class AggregationRule(Value):
    cluster_role_selectors: tuple[LabelSelector, ...] = ()


@kind("rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False)
class ClusterRole(Object):
    aggregation_rule: AggregationRule | None = None
    rules: tuple[PolicyRule, ...] | None = written(None)


class RoleRef(Value):
    api_group: str = defaulted("rbac.authorization.k8s.io")
    kind: str = written("")
    name: str = written("")


@kind("rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False)
class ClusterRoleBinding(Object):
    role_ref: Annotated[RoleRef, Atomic()] = written(RoleRef())
    subjects: tuple[Subject, ...] = ()


class PolicyRule(Value):
    api_groups: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = named("nonResourceURLs", ())
    resource_names: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = written(())


@kind("rbac.authorization.k8s.io/v1", "roles")
class Role(Object):
    rules: tuple[PolicyRule, ...] | None = written(None)


@kind("rbac.authorization.k8s.io/v1", "rolebindings")
class RoleBinding(Object):
    role_ref: Annotated[RoleRef, Atomic()] = written(RoleRef())
    subjects: tuple[Subject, ...] = ()


class Subject(Value):
    api_group: str = ""
    kind: str = written("")
    name: str = written("")
    namespace: str = ""
