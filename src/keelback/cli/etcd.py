"""`keelback etcd`: snapshots of a store, stores made of snapshots, and the way from a SQLite file to an etcd."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from keelback.bootstrap.cluster_state import ClusterError

_PROGRESS_KEYS = 5_000


def add(commands: Any) -> None:
    """Add the command and its flags."""
    top = commands.add_parser("etcd", help="save and restore a store, or move it to an etcd")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    snapshot = verbs.add_parser("snapshot", help="save a store while it is used, or make one of what was saved")
    kinds = snapshot.add_subparsers(title="verbs", metavar="VERB", required=True)

    save = kinds.add_parser("save", help="write all that a store holds to a file")
    save.add_argument("file", type=Path)
    _store_flags(save)
    save.set_defaults(run=_command(_save))

    restore = kinds.add_parser("restore", help="make a store of a snapshot, where there is none")
    restore.add_argument("file", type=Path)
    restore.add_argument("--storage-file", type=Path, help="the SQLite file to make")
    restore.add_argument("--data-dir", type=Path, help="the etcd member's folder to make")
    restore.add_argument("--name", default="default", help="the member's name (default)")
    restore.add_argument("--initial-cluster", default="", help="all members, such as a=https://10.0.0.1:2380,...")
    restore.add_argument("--initial-cluster-token", default="", help="what sets the new cluster apart from others")
    restore.add_argument("--initial-advertise-peer-urls", default="", help="where the others reach this member")
    restore.add_argument("--etcd-prefix", default="/registry", help="what all keys begin with (/registry)")
    restore.set_defaults(run=_command(_restore))

    move = verbs.add_parser("import", help="move a store from a SQLite file to an etcd that has none")
    _store_flags(move)
    move.set_defaults(run=_command(_import))


def _store_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage-file", type=Path, help="the SQLite file of a store")
    parser.add_argument("--etcd-servers", default="", help="the members of an etcd, separated by commas")
    parser.add_argument("--etcd-cafile", default="", help="the authority of etcd's certificates")
    parser.add_argument("--etcd-certfile", default="", help="the certificate that etcd is shown")
    parser.add_argument("--etcd-keyfile", default="", help="its key")
    parser.add_argument("--etcd-prefix", default="/registry", help="what all keys begin with (/registry)")


def _command(work: Callable[[argparse.Namespace], Awaitable[None]]) -> Callable[[argparse.Namespace], int]:
    def run(given: argparse.Namespace) -> int:
        from keelback.component.flags import FlagError
        from keelback.storage.protocol import StorageError
        from keelback.storage.snapshot_files import SnapshotError

        try:
            asyncio.run(_whole(work(given)))
        except (SnapshotError, StorageError, FlagError, OSError) as error:
            raise ClusterError(str(error)) from error
        return 0

    return run


async def _whole(work: Awaitable[None]) -> None:
    await work


async def _save(given: argparse.Namespace) -> None:
    from keelback.bootstrap import stores
    from keelback.concurrency.clock import SystemClock
    from keelback.storage import etcd_snapshots, sqlite_snapshots

    _one_of(given, "storage_file", "etcd_servers")
    if given.storage_file is not None:
        revision = await asyncio.to_thread(sqlite_snapshots.save, given.storage_file, given.file)
        print(f"{given.file} has the store as it was at resourceVersion {revision}.")
        return
    async with await stores.open_etcd(_etcd_options(given), SystemClock()) as store:
        size = await etcd_snapshots.save(store, given.file)
    print(f"{given.file} has all of etcd, {size / 1e6:.1f} MB.")


async def _restore(given: argparse.Namespace) -> None:
    from keelback.bootstrap import etcd_restore
    from keelback.bootstrap.etcd_restore import NewMember
    from keelback.concurrency.clock import SystemClock
    from keelback.storage import sqlite_snapshots

    _one_of(given, "storage_file", "data_dir")
    if given.storage_file is not None:
        revision = await asyncio.to_thread(sqlite_snapshots.restore, given.file, given.storage_file)
        print(f"{given.storage_file} is a store that goes on from resourceVersion {revision}.")
        return
    member = NewMember(
        given.data_dir,
        given.name,
        given.initial_cluster,
        given.initial_cluster_token,
        given.initial_advertise_peer_urls,
    )
    revision = await etcd_restore.restore(given.file, member, given.etcd_prefix, SystemClock())
    print(f"{given.data_dir} is the data of member {given.name}; it goes on from resourceVersion {revision}.")


async def _import(given: argparse.Namespace) -> None:
    from keelback.bootstrap import stores
    from keelback.concurrency.clock import SystemClock
    from keelback.storage import moving, sqlite

    if given.storage_file is None or not given.etcd_servers:
        raise ClusterError("an import needs --storage-file, to move from, and --etcd-servers, to move to")
    if not given.storage_file.exists():
        raise ClusterError(f"{given.storage_file} does not exist")
    clock = SystemClock()

    def tell(moved: int, total: int) -> None:
        if moved == total or moved // _PROGRESS_KEYS != (moved - moving.PAGE_KEYS) // _PROGRESS_KEYS:
            print(f"{moved} of {total} keys", file=sys.stderr)

    async with (
        await sqlite.open_store(given.storage_file, clock) as source,
        await stores.open_etcd(_etcd_options(given), clock, may_be_unfinished=True) as target,
    ):
        moved, revision = await moving.move(source, target, clock.now(), tell)
    print(f"{moved} keys are in etcd, which goes on from resourceVersion {revision}.")
    print(f"Start API servers with --etcd-servers={given.etcd_servers}; {given.storage_file} may be kept or deleted.")


def _etcd_options(given: argparse.Namespace) -> Any:
    from keelback.bootstrap.stores import EtcdOptions

    return EtcdOptions(
        etcd_servers=tuple(one for one in given.etcd_servers.split(",") if one),
        etcd_cafile=given.etcd_cafile,
        etcd_certfile=given.etcd_certfile,
        etcd_keyfile=given.etcd_keyfile,
        etcd_prefix=given.etcd_prefix,
    )


def _one_of(given: argparse.Namespace, *fields: str) -> None:
    if sum(bool(getattr(given, field)) for field in fields) != 1:
        raise ClusterError(f"give one of {' and '.join('--' + field.replace('_', '-') for field in fields)}")
