"""What is etcd's own: members that die, streams that break, keys beside those of others, and compaction in turns."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from keelback.bootstrap import pki, stores
from keelback.bootstrap.stores import EtcdOptions
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, etcd_compaction
from keelback.storage.etcd import EtcdStore
from keelback.storage.etcd_compaction import Turn
from keelback.storage.etcd_endpoints import Endpoints, TLSFiles
from keelback.storage.etcd_keys import KeySpace, end_of
from keelback.storage.protocol import Compacted, CompareFailed, KeyValue, OutcomeUnknown, TooLarge, Unavailable
from keelback.testing import etcd as testing_etcd
from keelback.testing.etcd import EtcdCluster, etcd_cluster

_numbers = itertools.count()

pytestmark = pytest.mark.skipif(not testing_etcd.is_installed(), reason="etcd is not installed")


async def opened(cluster: EtcdCluster, **spaces: str) -> EtcdStore:
    keys = KeySpace(**{"outside": f"/own-{next(_numbers)}", **spaces})
    return await etcd.open_store(cluster.servers, SystemClock(), keys=keys)


def run(cluster: EtcdCluster, test: Callable[[EtcdStore], Awaitable[None]]) -> None:
    async def body() -> None:
        async with asyncio.timeout(60), await opened(cluster) as store:
            await test(store)

    asyncio.run(body())


def test_the_end_of_a_prefix_is_the_next_that_does_not_begin_with_it() -> None:
    assert end_of(b"/a/") == b"/a0"
    assert end_of(b"a\xff") == b"b"
    assert end_of(b"\xff\xff") == b"\0"


def test_keys_are_where_kubernetes_has_them(one_member: EtcdCluster) -> None:
    async def test(_: EtcdStore) -> None:
        async with await opened(one_member, outside="/registry") as ours, await opened(one_member, inside="") as raw:
            revision = await ours.put("/registry/pods/default/a", b"1")
            async with await opened(one_member, inside="", outside="") as whole:
                assert await whole.get("/registry/pods/default/a") == KeyValue(
                    "/registry/pods/default/a", b"1", revision, revision
                )
            await ours.delete("/registry/pods/default/a")
            assert (await raw.range("")).count == 0

    run(one_member, test)


def test_a_watch_of_everything_hears_of_others_writes_but_not_what_they_are(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        async with await opened(one_member) as other:
            watch = store.watch("")
            theirs = await other.put("/registry/a", b"")
            assert await watch.__anext__() == ([], theirs)
            ours = await store.put("/registry/a", b"")
            events, revision = await watch.__anext__()
            assert [event.kv.key for event in events] == ["/registry/a"]
            assert revision == ours
            assert (await store.range("")).count == 1

    run(one_member, test)


def test_a_watch_that_changes_its_stream_loses_nothing_and_repeats_nothing(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        watch = store.watch("/registry/a/")
        seen: list[int] = []

        async def read() -> None:
            async for batch in watch:
                seen.extend(event.kv.mod_revision for event in batch.events)
                if len(seen) >= 200:
                    return

        reading = asyncio.ensure_future(read())
        written = []
        for number in range(200):
            written.append(await store.put(f"/registry/a/{number % 7}", b""))
            if number % 20 == 0:
                watch.reconnect()
        await reading
        assert seen == written

    run(one_member, test)


def test_what_is_too_large_is_refused_and_the_store_goes_on(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        with pytest.raises(TooLarge):
            await store.put("/registry/a", b"x" * (2 << 20))
        await store.put("/registry/a", b"x" * (1 << 20))

    run(one_member, test)


def test_many_large_changes_reach_a_watch_that_comes_late(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        begin = await store.current_revision()
        revisions = [await store.put(f"/registry/a/{number}", b"x" * 900_000) for number in range(12)]
        watch = store.watch("/registry/a/", begin + 1)
        seen: list[int] = []
        async for batch in watch:
            seen += [event.kv.mod_revision for event in batch.events]
            if len(seen) == len(revisions):
                break
        assert seen == revisions
        assert (await store.range("/registry/a/")).count == 12

    run(one_member, test)


def test_of_several_servers_one_compacts_in_each_interval(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        first, second = Turn(), Turn()
        first = await etcd_compaction.take_turn(store, first)
        if first.version == 0:
            first = await etcd_compaction.take_turn(store, first)
        second = await etcd_compaction.take_turn(store, second)
        assert second.version == first.version, "it learned that the first was there"
        before = await store.put("/registry/a", b"1")
        await store.put("/registry/a", b"2")
        first = await etcd_compaction.take_turn(store, first)
        assert await etcd_compaction.take_turn(store, second) == Turn(first.version, first.revision)
        # The first went to where etcd was when its turn before began; what came later is still there.
        assert (await store.range("/registry/", revision=before)).kvs[0].value == b"1"
        first = await etcd_compaction.take_turn(store, first)
        with pytest.raises(Compacted):
            await store.range("/registry/", revision=before)

    run(one_member, test)


def test_the_offset_of_revisions_is_kept_in_etcd(one_member: EtcdCluster) -> None:
    async def test(_: EtcdStore) -> None:
        keys = KeySpace(outside="/moved")
        async with await etcd.open_store(one_member.servers, SystemClock(), keys=keys) as store:
            plain = await store.put("/registry/a", b"")
            await store.ask(
                "/etcdserverpb.KV/Put",
                etcd.pb.PutRequest(key=keys.offset_key, value=b"1000000"),
                etcd.pb.PutResponse,
                5.0,
                may_repeat=False,
            )
        async with await etcd.open_store(one_member.servers, SystemClock(), keys=keys) as store:
            assert (await store.get("/registry/a")) == KeyValue("/registry/a", b"", plain + 10**6, plain + 10**6)
            assert await store.current_revision() == plain + 1 + 10**6

    run(one_member, test)


class _Forgetful(EtcdStore):
    """Loses the next transaction, its answer, or lets it arrive when nobody counts on it any more."""

    loses = ""
    late: Any = None

    async def ask(self, method: str, request: Any, answer: Any, *rest: Any, **options: Any) -> Any:
        if not method.endswith("Txn") or not self.loses:
            return await super().ask(method, request, answer, *rest, **options)
        loses, self.loses = self.loses, ""
        if loses == "answer":
            await super().ask(method, request, answer, *rest, **options)
        elif loses == "time":
            self.late = (method, request, answer, *rest), options
        raise OutcomeUnknown(loses)

    async def deliver(self) -> Any:
        arguments, options = self.late
        return await super().ask(*arguments, **options)


def test_a_write_whose_answer_is_lost_is_found_or_done_again_but_never_twice(one_member: EtcdCluster) -> None:
    async def test(_: EtcdStore) -> None:
        keys = KeySpace(outside=f"/own-{next(_numbers)}")
        endpoints = Endpoints(one_member.servers, TLSFiles(), SystemClock())
        async with _Forgetful(endpoints, keys, SystemClock()) as store:
            await store.begin()
            for round_, loses in enumerate(("request", "answer", "time")):
                key = f"/registry/{loses}"
                watch = store.watch("/registry/")
                store.loses = loses
                created = await store.put(key, b"1-%d" % round_, expected_revision=0)
                store.loses = loses
                updated = await store.put(key, b"2-%d" % round_, expected_revision=created)
                assert await store.get(key) == KeyValue(key, b"2-%d" % round_, created, updated)
                if loses == "time":
                    assert not (await store.deliver()).succeeded, "the fence has been moved meanwhile"
                await store.put("/registry/last", b"%d" % round_)
                seen: list[int] = []
                async for batch in watch:
                    seen += [event.kv.mod_revision for event in batch.events if event.kv.key == key]
                    if batch.events[-1].kv.key == "/registry/last":
                        break
                assert seen == [created, updated]
            store.loses = "request"
            assert (await store.delete("/registry/request"))[1] is not None
            store.loses = "answer"
            with pytest.raises(OutcomeUnknown):
                await store.delete("/registry/answer")
            assert await store.get("/registry/answer") is None

    run(one_member, test)


def test_servers_that_share_a_store_share_its_fence(one_member: EtcdCluster) -> None:
    async def test(store: EtcdStore) -> None:
        async with await etcd.open_store(one_member.servers, SystemClock(), keys=store.keys) as other:
            await other.put("/registry/a", b"1", expected_revision=0)
            moved = etcd.pb.PutRequest(key=store.keys.fence_key)
            await store.ask("/etcdserverpb.KV/Put", moved, etcd.pb.PutResponse, 5.0, may_repeat=True)
            with pytest.raises(CompareFailed):
                await other.put("/registry/a", b"2", expected_revision=0)
            await other.put("/registry/b", b"1", expected_revision=0)
            await store.put("/registry/c", b"1", expected_revision=0)

    run(one_member, test)


def test_members_are_asked_over_tls_by_those_whom_they_know(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path / "pki", SystemClock().now())
    cluster = EtcdCluster(tmp_path / "etcd")
    (member,) = cluster.members
    member.url = member.url.replace("http:", "https:")
    member.flags = (
        f"--cert-file={keys.apiserver.certificate_path}",
        f"--key-file={keys.apiserver.key_path}",
        f"--trusted-ca-file={keys.ca.certificate_path}",
        "--client-cert-auth",
    )
    known = TLSFiles(str(keys.ca.certificate_path), str(keys.admin.certificate_path), str(keys.admin.key_path))
    options = EtcdOptions(
        etcd_servers=cluster.servers,
        etcd_cafile=known.ca,
        etcd_certfile=known.certificate,
        etcd_keyfile=known.key,
        etcd_prefix="/elsewhere",
    )

    async def body() -> None:
        async with asyncio.timeout(60), await stores.open_etcd(options, SystemClock()) as store:
            revision = await store.put("/registry/a", b"1")
            assert (await store.get("/registry/a")) == KeyValue("/registry/a", b"1", revision, revision)
        raw = KeySpace(inside="", outside="")
        async with await etcd.open_store(cluster.servers, SystemClock(), keys=raw, tls=known) as store:
            assert (await store.get("/elsewhere/a")) is not None
        with pytest.raises(Unavailable, match="does not answer"):
            await etcd.open_store(cluster.servers, SystemClock(), tls=TLSFiles(ca=known.ca), patience_seconds=0.5)

    try:
        cluster.start(member)
        asyncio.run(body())
    finally:
        cluster.stop()


def test_an_address_where_nobody_listens_is_said_to_be_so() -> None:
    async def body() -> None:
        with pytest.raises(Unavailable, match="no address"):
            await etcd.open_store(("ftp://127.0.0.1:1",), SystemClock())
        with pytest.raises(Unavailable, match="cannot be read"):
            await etcd.open_store(("https://127.0.0.1:1",), SystemClock(), tls=TLSFiles(ca="/nowhere/ca.crt"))

    asyncio.run(body())


def test_writes_go_on_when_a_member_is_killed_or_cut_off_and_no_event_is_lost(tmp_path: Path) -> None:
    async def body() -> None:
        async with asyncio.timeout(60), etcd_cluster(tmp_path, 3) as cluster, await opened(cluster) as store:
            watch, seen, acknowledged = store.watch(""), list[str](), _Acknowledged()
            is_over = asyncio.Event()

            async def read() -> None:
                async for batch in watch:
                    seen.extend(event.kv.key for event in batch.events)
                    if "/registry/last" in seen:
                        return

            async def write(writer: int) -> None:
                for number in itertools.count():
                    if is_over.is_set():
                        return
                    key = f"/registry/{writer}/{number}"
                    try:
                        await store.put(key, b"", expected_revision=0)
                    except OutcomeUnknown:
                        continue
                    acknowledged.add(key)

            reading = asyncio.ensure_future(read())
            writing = [asyncio.ensure_future(write(writer)) for writer in range(4)]
            for member, way in zip(cluster.members, (signal.SIGKILL, signal.SIGSTOP), strict=False):
                await acknowledged.grows()
                member.send(way)
                await acknowledged.grows()
                if way is signal.SIGSTOP:
                    member.send(signal.SIGCONT)
                else:
                    cluster.start(member)
                await testing_etcd.answers(member.url)
            is_over.set()
            await asyncio.gather(*writing)
            await store.put("/registry/last", b"")
            await reading
            assert len(seen) == len(set(seen)), "an event was told twice"
            assert set(acknowledged.keys) <= set(seen)
            there = {kv.key for kv in (await store.range("/registry/")).kvs}
            assert there == set(seen)

    asyncio.run(body())


class _Acknowledged:
    """The keys whose writes were acknowledged."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._more = asyncio.Event()

    def add(self, key: str) -> None:
        self.keys.append(key)
        self._more.set()

    async def grows(self) -> None:
        """Until there are fifty more."""
        wanted = len(self.keys) + 50
        while len(self.keys) < wanted:
            self._more.clear()
            await self._more.wait()
