"""Which store an API server has: a SQLite file of its own, or an etcd that others may have too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

from keelback.component.flags import Duration, FlagError
from keelback.concurrency.clock import Clock
from keelback.storage import compaction
from keelback.storage.protocol import Store

DEFAULT_PREFIX = "/registry"
COMPACTION_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class EtcdOptions:
    """Where an etcd is, with upstream's flags."""

    etcd_servers: Annotated[tuple[str, ...], "The members of an etcd, such as https://10.0.0.1:2379."] = ()
    etcd_cafile: Annotated[str, "The authority of etcd's certificates."] = ""
    etcd_certfile: Annotated[str, "The certificate that etcd is shown."] = ""
    etcd_keyfile: Annotated[str, "Its key."] = ""
    etcd_prefix: Annotated[str, "What all keys in etcd begin with."] = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if bool(self.etcd_certfile) != bool(self.etcd_keyfile):
            raise FlagError("--etcd-certfile and --etcd-keyfile belong together")
        if not self.etcd_prefix.startswith("/") or self.etcd_prefix.endswith("/"):
            raise FlagError("--etcd-prefix begins with a slash and does not end with one")


@dataclass(frozen=True, kw_only=True)
class StoreOptions(EtcdOptions):
    """An API server's store. One of the two is needed."""

    storage_file: Annotated[str, "The SQLite file of the store. This or --etcd-servers is needed."] = ""
    etcd_compaction_interval: Annotated[Duration, "How often etcd is compacted; 0 leaves that to somebody else."] = (
        COMPACTION_SECONDS
    )

    etcd_healthcheck_timeout: Annotated[Duration, "How long /livez and /healthz wait for the store."] = 2.0
    etcd_readycheck_timeout: Annotated[Duration, "How long /readyz waits for it."] = 2.0
    etcd_servers_overrides: Annotated[
        tuple[str, ...],
        "Resources with an etcd of their own, such as that of events: group/resource#servers, where servers are URLs, "
        "semicolon separated (/events#https://10.0.0.2:2379;https://10.0.0.3:2379). Custom resources have none.",
    ] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.etcd_healthcheck_timeout <= 0 or self.etcd_readycheck_timeout <= 0:
            raise FlagError("--etcd-healthcheck-timeout and --etcd-readycheck-timeout must be positive")
        if self.overrides() and not self.etcd_servers:
            raise FlagError("--etcd-servers-overrides goes with --etcd-servers")
        if self.storage_file and self.etcd_servers:
            raise FlagError("--storage-file and --etcd-servers are two stores: give one")

    def overrides(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """The servers of resources, by group and plural. Raises FlagError."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for one in self.etcd_servers_overrides:
            resource, is_given, servers = one.partition("#")
            group, has_group, plural = resource.partition("/")
            if not (is_given and has_group and plural and servers) or "/" in plural or "#" in servers:
                raise FlagError(
                    "--etcd-servers-overrides invalid, must be of format: group/resource#servers, where servers are "
                    "URLs, semicolon separated"
                )
            found[group, plural] = tuple(server for server in servers.split(";") if server)
        return found


async def open_etcd(options: EtcdOptions, clock: Clock, *, may_be_unfinished: bool = False) -> Any:
    """The etcd that flags name. Raises Unavailable; for a move that was cut short too, unless that is expected."""
    # Who keeps a file has no need of gRPC.
    from keelback.storage import etcd
    from keelback.storage.etcd_endpoints import TLSFiles
    from keelback.storage.etcd_keys import KeySpace

    keys = KeySpace(outside=options.etcd_prefix)
    tls = TLSFiles(options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile)
    return await etcd.open_store(options.etcd_servers, clock, keys=keys, tls=tls, may_be_unfinished=may_be_unfinished)


async def open_store(options: StoreOptions, clock: Clock) -> Store:
    """The store that flags name. Raises Unavailable."""
    if options.etcd_servers:
        store: Store = await open_etcd(options, clock)
        return store
    from keelback.storage import sqlite

    return await sqlite.open_store(Path(options.storage_file), clock)


async def open_overrides(options: StoreOptions, clock: Clock) -> Mapping[tuple[str, str], Store]:
    """The stores of the resources that have one of their own; the same servers are one. Raises Unavailable."""
    opened: dict[tuple[str, ...], Store] = {}
    found: dict[tuple[str, str], Store] = {}
    try:
        for resource, servers in options.overrides().items():
            if servers not in opened:
                opened[servers] = await open_etcd(replace(options, etcd_servers=servers, storage_file=""), clock)
            found[resource] = opened[servers]
    except BaseException:
        await close_all(opened.values())
        raise
    return found


async def close_all(stores: Iterable[Store]) -> None:
    """Close each once."""
    for one in dict.fromkeys(stores):
        await one.close()


def compactor(
    is_etcd: bool, interval_seconds: float = COMPACTION_SECONDS
) -> Callable[[Any, Clock], Awaitable[NoReturn]]:
    """What keeps a store small; the interval is etcd's."""
    if not is_etcd:
        return compaction.run
    from keelback.storage import etcd_compaction

    return etcd_compaction.runner(interval_seconds)
