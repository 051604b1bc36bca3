"""The strategies of a server: of the Kubernetes version it is, with the optional group versions it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.registry import builtin, group_versions, runtime_config
from keelback.registry.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. What is not served is kept all the same: Services have their addresses in every version."""

    strategy: Strategy[Any]
    is_served: bool = True


def plan(
    version: KubernetesVersion,
    optional: tuple[tuple[str, str], ...] = (),
    off: frozenset[tuple[str, str]] = frozenset(),
    *,
    pod_groups: bool = False,
    hidden: frozenset[tuple[str, str, str]] = frozenset(),
) -> Iterator[Resource]:
    """Every resource that the server keeps, the stored kinds first; those that are `hidden` are not served.

    `off` are the fields of feature gates that are off, where that is not what the strategies see to by themselves;
    `pod_groups` is whether GenericWorkload is on, which the strategies alone would take for off.
    Raises FileNotFoundError where the schemas of that version are not installed.
    """
    for resource in _kept(version, optional, off, pod_groups):
        kind = resource.strategy.kind.__kind__
        if hidden and runtime_config.is_hidden(hidden, kind.group, kind.version, kind.plural):
            yield Resource(resource.strategy, is_served=False)
        else:
            yield resource


def _kept(
    version: KubernetesVersion,
    optional: tuple[tuple[str, str], ...],
    off: frozenset[tuple[str, str]],
    pod_groups: bool,
) -> Iterator[Resource]:
    if version == DEFAULT and not off:
        yield from map(Resource, _built_in(pod_groups))
        for group, one in optional:
            # These are many types that few servers need.
            from keelback.registry import optional_kinds

            yield from map(Resource, optional_kinds.strategies(group, one))
        return
    yield from _of_version(version, optional, off, pod_groups)


def _built_in(pod_groups: bool) -> Iterator[Strategy[Any]]:
    if not pod_groups:
        return builtin.strategies()
    from keelback.registry.pod_groups import keeping

    return map(keeping, builtin.strategies())


def adapter(
    version: KubernetesVersion, off: frozenset[tuple[str, str]] = frozenset()
) -> Callable[[Strategy[Any]], Strategy[Any]]:
    """What makes a strategy one of that version: for kinds that are asked and not kept."""
    if version == DEFAULT and not off:
        return lambda strategy: strategy
    from keelback.registry import published_schemas, version_strategies
    from keelback.registry.version_fields import VersionFields

    fields = VersionFields(published_schemas.of_version(version), off)
    return lambda strategy: version_strategies.of_version(strategy, version, fields)


def _of_version(
    version: KubernetesVersion,
    optional: tuple[tuple[str, str], ...],
    off: frozenset[tuple[str, str]],
    pod_groups: bool,
) -> Iterator[Resource]:
    # A server of the default version loads none of this.
    from keelback.registry import published_schemas, version_strategies, version_views
    from keelback.registry.version_fields import VersionFields

    published = published_schemas.of_version(version)
    fields = VersionFields(published, off)
    on = group_versions.on_by_default(version)

    def is_published(strategy: Strategy[Any]) -> bool:
        kind = strategy.kind.__kind__
        return published.name_of(kind.group, kind.version, kind.kind) is not None

    for strategy in _built_in(pod_groups):
        kind = strategy.kind.__kind__
        is_served = (kind.group, kind.version) in on and is_published(strategy)
        yield Resource(version_strategies.of_version(strategy, version, fields), is_served)
    views = [one for one in version_views.WITH_VIEWS if one in on]
    for group, one in (*views, *optional):
        for strategy in version_views.strategies(group, one):
            if is_published(strategy):
                yield Resource(version_strategies.of_version(strategy, version, fields))
