"""Who uses an encrypting store sees plain values, and the store beneath never does."""

from __future__ import annotations

import asyncio

import pytest

from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.protocol import CompareFailed, Event, TransformFailed
from keelback.testing.encryption import IDENTITY, Config, at_rest, key

CLOCK = SystemClock()
A = "/registry/secrets/default/a"
PLAIN = b'{"kind":"Secret"}'


@pytest.mark.parametrize(
    ("cipher", "prefix"),
    [
        ("aescbc", b"k8s:enc:aescbc:v1:one:"),
        ("aesgcm", b"k8s:enc:aesgcm:v1:one:"),
        ("secretbox", b"k8s:enc:secretbox:v1:one:"),
    ],
)
def test_values_are_plain_above_and_encrypted_beneath(config: Config, cipher: str, prefix: bytes) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        metrics = Registry()
        store = at_rest(beneath, config.write(key(cipher, "one"), IDENTITY), CLOCK, metrics).store
        watch = store.watch("/registry/")
        revision = await store.put(A, PLAIN, expected_revision=0)
        stored = await beneath.get(A)
        assert stored is not None
        assert stored.value.startswith(prefix)
        assert PLAIN not in stored.value
        found = await store.get(A)
        assert found is not None
        assert (found.value, found.mod_revision, found.is_stale) == (PLAIN, revision, False)
        assert (await store.range("/registry/")).kvs[0].value == PLAIN
        with pytest.raises(CompareFailed) as failed:
            await store.put(A, b"other", expected_revision=0)
        assert failed.value.current is not None
        assert failed.value.current.value == PLAIN
        _, before = await store.delete(A, expected_revision=revision)
        assert before is not None
        assert before.value == PLAIN
        events: list[Event] = []
        while len(events) < 2:
            events += (await anext(watch)).events
        created, deleted = events
        assert created.kv.value == PLAIN
        assert deleted.prev is not None
        assert deleted.prev.value == PLAIN
        watch.close()
        counted = (
            'apiserver_storage_transformation_operations_total{resource="secrets",status="OK",'
            f'transformation_type="to_storage",transformer_prefix="k8s:enc:{cipher}:v1:"}}'
        )
        assert counted in metrics.exposition().decode()

    asyncio.run(main())


def test_what_has_no_rule_stays_as_it_is(config: Config) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        store = at_rest(beneath, config.write(key("aescbc", "one")), CLOCK).store
        for name in ("/registry/pods/default/a", "/registry/health", "elsewhere"):
            await store.put(name, PLAIN)
            found, seen = await beneath.get(name), await store.get(name)
            assert found is not None
            assert seen == found

    asyncio.run(main())


def test_keys_change_in_steps_and_nothing_becomes_unreadable(config: Config) -> None:
    old, new = key("aescbc", "old", b"o"), key("secretbox", "new", b"n")

    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        made = at_rest(beneath, config.write(old), CLOCK)
        store = made.store
        await store.put(A, PLAIN)
        for providers, is_stale in (((old, new), False), ((new, old), True)):
            config.write(*providers)
            assert await made.reload()
            found = await store.get(A)
            assert found is not None
            assert (found.value, found.is_stale) == (PLAIN, is_stale)
        await store.put(A, PLAIN)
        config.write(new)
        assert await made.reload()
        found = await store.get(A)
        assert found is not None
        assert not found.is_stale
        config.write(IDENTITY, new)
        assert await made.reload()
        found = await store.get(A)
        assert found is not None
        assert found.is_stale
        await store.put(A, PLAIN)
        stored = await beneath.get(A)
        assert stored is not None
        assert stored.value == PLAIN

    asyncio.run(main())


def test_what_cannot_be_decrypted_says_so_and_hides_nothing(config: Config) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        made = at_rest(beneath, config.write(key("aesgcm", "lost")), CLOCK)
        store = made.store
        revision = await store.put(A, PLAIN)
        await store.put("/registry/secrets/other/b", PLAIN)
        config.write(key("aesgcm", "new", b"n"))
        assert await made.reload()
        why = f'unable to transform key "{A}": no matching key was found for the provided AES transformer'
        with pytest.raises(TransformFailed) as refused:
            await store.get(A)
        assert str(refused.value) == why
        listed = await store.range("/registry/secrets/default/")
        assert [(one.key, one.value, one.unreadable) for one in listed.kvs] == [(A, b"", why)]
        watch = store.watch("/registry/", revision)
        (event,) = (await anext(watch)).events[:1]
        assert event.kv.unreadable == why
        watch.close()
        _, before = await store.delete(A)
        assert before is not None
        assert before.unreadable == why

    asyncio.run(main())


def test_a_key_of_the_same_name_that_is_another_is_told_apart(config: Config) -> None:
    async def main() -> None:
        made = at_rest(memory.open_store(CLOCK), config.write(key("aesgcm", "k", b"1")), CLOCK)
        await made.store.put(A, PLAIN)
        config.write(key("aesgcm", "k", b"2"), key("aesgcm", "k", b"1"))
        assert await made.reload()
        found = await made.store.get(A)
        assert found is not None
        assert (found.value, found.is_stale) == (PLAIN, True)

    asyncio.run(main())


def test_a_file_that_became_wrong_changes_nothing(config: Config) -> None:
    async def main() -> None:
        metrics = Registry()
        made = at_rest(memory.open_store(CLOCK), config.write(key("aescbc", "one")), CLOCK, metrics)
        assert not await made.reload()
        await made.store.put(A, PLAIN)
        for text in ("[", None):
            if text is None:
                config.path.unlink()
            else:
                config.path.write_text(text)
            assert not await made.reload()
        found = await made.store.get(A)
        assert found is not None
        assert found.value == PLAIN
        assert (
            'apiserver_encryption_config_controller_automatic_reloads_total{status="failure",apiserver_id_hash=""} 2'
            in metrics.exposition().decode()
        )

    asyncio.run(main())


def test_a_rule_behind_a_wider_one_is_refused(config: Config) -> None:
    def rule(resource: str) -> dict[str, object]:
        return {"resources": [resource], "providers": [IDENTITY]}

    async def main() -> None:
        settings = config.write_rules(rule("*."), rule("secrets"))
        with pytest.raises(Exception, match=r'resource "secrets" is masked by earlier rule "\*\."'):
            at_rest(memory.open_store(CLOCK), settings, CLOCK)

    asyncio.run(main())


def test_the_narrowest_rule_counts(config: Config) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        settings = config.write_rules(
            {"resources": ["events"], "providers": [IDENTITY]},
            {"resources": ["*.*"], "providers": [key("aescbc", "one")]},
        )
        store = at_rest(beneath, settings, CLOCK).store
        for name, is_plain in (("events", True), ("pods", False)):
            await store.put(f"/registry/{name}/a", PLAIN)
            found = await beneath.get(f"/registry/{name}/a")
            assert found is not None
            assert (found.value == PLAIN) is is_plain

    asyncio.run(main())
