"""`keelback etcd`, as it is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keelback.cli.main import main
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, sqlite
from keelback.storage.etcd_keys import KeySpace
from keelback.testing import etcd as testing_etcd
from keelback.testing.etcd import EtcdCluster, Member


def write(path: Path) -> None:
    async def body() -> None:
        async with await sqlite.open_store(path, SystemClock()) as store:
            for number in range(20):
                await store.put("/registry/configmaps/default/a", b"%d" % number)

    asyncio.run(body())


def value(servers: tuple[str, ...]) -> tuple[bytes, int]:
    async def body() -> tuple[bytes, int]:
        async with await etcd.open_store(servers, SystemClock(), keys=KeySpace()) as store:
            found = await store.get("/registry/configmaps/default/a")
            assert found is not None
            return found.value, await store.current_revision()

    return asyncio.run(body())


def test_a_sqlite_store_is_saved_and_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, saved, made = (str(tmp_path / name) for name in ("store.db", "saved", "made.db"))
    write(Path(path))
    assert main(["etcd", "snapshot", "save", saved, "--storage-file", path]) == 0
    assert "as it was at resourceVersion 21" in capsys.readouterr().out
    assert main(["etcd", "snapshot", "restore", saved, "--storage-file", made]) == 0
    assert "goes on from resourceVersion 1000000021" in capsys.readouterr().out
    assert main(["etcd", "snapshot", "restore", saved, "--storage-file", made]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["etcd", "snapshot", "save", saved]) == 1
    assert "give one of --storage-file and --etcd-servers" in capsys.readouterr().err


@pytest.mark.skipif(not testing_etcd.is_installed(), reason="etcd is not installed")
def test_a_store_is_moved_to_etcd_saved_and_restored_as_three_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "store.db")
    first = EtcdCluster(tmp_path / "first")
    restored = EtcdCluster(tmp_path / "restored", 3)
    try:
        asyncio.run(first.begin())
        servers = ",".join(first.servers)
        assert main(["etcd", "import", "--storage-file", str(tmp_path / "store.db"), "--etcd-servers", servers]) == 0
        before, revision = value(first.servers)
        assert before == b"19"
        saved = str(tmp_path / "saved")
        assert main(["etcd", "snapshot", "save", saved, "--etcd-servers", servers]) == 0
        for member in restored.members:
            assert main(["etcd", "snapshot", "restore", saved, *_flags(member, restored)]) == 0
        asyncio.run(restored.begin())
        after, later = value(restored.servers)
        assert after == before
        assert later > revision + 10**8
    finally:
        first.stop()
        restored.stop()


def _flags(member: Member, cluster: EtcdCluster) -> tuple[str, ...]:
    return (
        f"--data-dir={member.folder / 'data'}",
        f"--name={member.name}",
        f"--initial-cluster={cluster.initial}",
        f"--initial-advertise-peer-urls={member.peer_url}",
    )
