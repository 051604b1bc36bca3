"""A KMS plugin, a process of its own, keeps the key of keys: what is stored needs it once per seed, and follows it."""

from __future__ import annotations

import asyncio

import pytest

from keelback.component.metrics import Registry
from keelback.concurrency.clock import SystemClock
from keelback.encryption.options import EncryptionError
from keelback.storage import memory
from keelback.storage.protocol import TransformFailed
from keelback.testing.clock import HandClock
from keelback.testing.encryption import Config, KMSPlugin, at_rest

CLOCK = SystemClock()
A, B = "/registry/secrets/default/a", "/registry/secrets/default/b"
PLAIN = b'{"kind":"Secret"}'


def test_a_seed_is_decrypted_once_and_follows_the_plugins_key(config: Config, plugin: KMSPlugin) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        settings = config.write(plugin.provider)
        made = at_rest(beneath, settings, CLOCK)
        await made.prime()
        await made.store.put(A, PLAIN)
        await made.store.put(B, PLAIN)
        stored = await beneath.get(A)
        assert stored is not None
        assert stored.value.startswith(b"k8s:enc:kms:v2:plugin:")
        assert PLAIN not in stored.value
        await made.checks()["kms-providers"]()
        await made.close()
        # Another server, which must ask for the seed.
        metrics = Registry()
        other = at_rest(beneath, settings, CLOCK, metrics)
        listed = await other.store.range("/registry/secrets/")
        assert [one.value for one in listed.kvs] == [PLAIN, PLAIN]
        assert b"apiserver_storage_envelope_transformation_cache_misses_total 1\n" in metrics.exposition()
        plugin.keys.write_text("first one\nsecond two\n")
        await other.prime()
        found = await other.store.get(A)
        assert found is not None
        assert (found.value, found.is_stale) == (PLAIN, True)
        await other.store.put(A, PLAIN)
        found = await other.store.get(A)
        assert found is not None
        assert not found.is_stale
        await other.close()

    asyncio.run(main())


def test_without_the_plugin_nothing_is_readable_until_it_is_back(config: Config, plugin: KMSPlugin) -> None:
    async def main() -> None:
        beneath = memory.open_store(CLOCK)
        provider = plugin.provider
        provider["kms"]["timeout"] = "100ms"
        settings = config.write(provider)
        made = at_rest(beneath, settings, CLOCK)
        await made.prime()
        await made.store.put(A, PLAIN)
        await made.close()
        plugin.stop()
        other = at_rest(beneath, settings, CLOCK)
        await other.prime()
        with pytest.raises(TransformFailed, match="failed to decrypt DEK, error: rpc error: code = DeadlineExceeded"):
            await other.store.get(A)
        with pytest.raises(TransformFailed, match="got unexpected nil transformer"):
            await other.store.put(B, PLAIN)
        with pytest.raises(EncryptionError, match="kms-provider-0: failed to perform status section"):
            await other.checks()["kms-providers"]()
        await other.close()
        plugin.start()
        again = at_rest(beneath, settings, CLOCK)
        await again.prime()
        found = await again.store.get(A)
        assert found is not None
        assert found.value == PLAIN
        await again.close()

    asyncio.run(main())


def test_a_plugin_that_is_silent_for_long_is_not_trusted_on(config: Config, plugin: KMSPlugin) -> None:
    async def main() -> None:
        clock = HandClock()
        made = at_rest(memory.open_store(clock), config.write(plugin.provider), clock)
        await made.prime()
        clock.advance(170)
        await made.prime()
        clock.advance(170)
        await made.store.put(A, PLAIN)
        clock.advance(20)
        with pytest.raises(TransformFailed, match=r'encryptedDEKSource with keyID hash "sha256:.*" expired at'):
            await made.store.put(A, PLAIN)
        found = await made.store.get(A)
        assert found is not None
        await made.close()

    asyncio.run(main())


def test_a_plugin_that_is_ill_says_why(config: Config, plugin: KMSPlugin) -> None:
    async def main() -> None:
        plugin.keys.write_text("first one\nill\n")
        made = at_rest(memory.open_store(CLOCK), config.write(plugin.provider), CLOCK)
        await made.prime()
        with pytest.raises(EncryptionError, match="is not healthy, error: got unexpected healthz status: not today"):
            await made.checks()["kms-providers"]()
        await made.close()

    asyncio.run(main())


def test_a_plugin_joins_by_reload_only_when_it_is_well(config: Config, plugin: KMSPlugin) -> None:
    async def main() -> None:
        clock = HandClock()
        beneath = memory.open_store(clock)
        made = at_rest(beneath, config.write({"identity": {}}), clock)
        await made.store.put(A, PLAIN)
        await made.checks()["kms-providers"]()
        config.write(plugin.provider, {"identity": {}})
        assert await made.reload()
        found = await made.store.get(A)
        assert found is not None
        assert (found.value, found.is_stale) == (PLAIN, True)
        await made.store.put(A, PLAIN)
        stored = await beneath.get(A)
        assert stored is not None
        assert stored.value.startswith(b"k8s:enc:kms:v2:plugin:")
        await made.close()

    asyncio.run(main())
