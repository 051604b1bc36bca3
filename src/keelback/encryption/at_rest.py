"""Encryption at rest as a server has it: the configuration is read and followed, and plugins are asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keelback.apimachinery.go_text import aggregate
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.encryption import config
from keelback.encryption.ciphers import CBC, GCM, Cipher, Secretbox
from keelback.encryption.config import KMS, GroupResource, Keys
from keelback.encryption.metrics import EncryptionMetrics
from keelback.encryption.options import EncryptionError, EncryptionSettings
from keelback.encryption.providers import IdentityProvider, KeyedProvider, Provider, Providers, Rules
from keelback.encryption.store import EncryptingStore, Locate
from keelback.storage.protocol import Store

if TYPE_CHECKING:
    from keelback.encryption.envelope import Envelope

RELOAD_SECONDS = 60.0
_HEALTHY_WITHIN_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 10.0
_WELL_SECONDS = 20.0
_ILL_SECONDS = 3.0
HEALTH_CHECK = "kms-providers"
_log = logger("encryption")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one state of the file leads to."""

    rules: Rules
    plugins: tuple[Envelope, ...]
    digest: str

    async def close(self) -> None:
        for one in self.plugins:
            await one.client.close()


class AtRest:
    """`store` is what to use instead of the store. Raises EncryptionError when it is made of a file that cannot be."""

    def __init__(
        self,
        store: Store,
        settings: EncryptionSettings,
        locate: Locate,
        clock: Clock,
        chance: random.Random,
        metrics: EncryptionMetrics,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._metrics = metrics
        self._loaded = self._load(_read(settings.path))
        self._retired: list[_Loaded] = []
        self._polls: list[asyncio.Task[NoReturn]] = []
        self._known_health: tuple[str, float] = "", 0.0
        self.store = EncryptingStore(store, self._loaded.rules, locate)

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The health checks, by name: one for all plugins, there as well where the file may come to name some."""
        return {HEALTH_CHECK: self._check} if self._loaded.plugins or self._settings.reloads else {}

    async def prime(self) -> bool:
        """Ask the plugins for keys; whether all gave one. They may not be there yet: then they are asked later."""
        for one in self._loaded.plugins:
            await one.poll()
        return all(one.has_key for one in self._loaded.plugins)

    async def run(self) -> NoReturn:
        """Follow the plugins and, where that is wanted, the file, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._follow_plugins(group)
            while True:
                await self._clock.sleep(RELOAD_SECONDS)
                if self._settings.reloads and await self.reload():
                    self._follow_plugins(group)

    async def reload(self) -> bool:
        """Read the file again; whether it says something else, and something that works."""
        made = None
        try:
            text = _read(self._settings.path)
            if _digest(text) == self._loaded.digest:
                return False
            made = self._load(text)
            await self._until_healthy(made)
        except (EncryptionError, TimeoutError) as error:
            self._metrics.reloaded(succeeded=False)
            _log.error("The encryption configuration stays as it was", path=self._settings.path, error=str(error))
            if made is not None:
                await made.close()
            return False
        # Requests under way may still need what was: it is given up at the next change.
        for one in self._retired:
            await one.close()
        self._retired = [self._loaded]
        self._loaded = made
        self._known_health = "", 0.0
        self.store.rules = made.rules
        self._metrics.reloaded(succeeded=True)
        _log.info("The encryption configuration has changed", path=self._settings.path)
        return True

    async def close(self) -> None:
        """Give up the plugins."""
        for one in (*self._retired, self._loaded):
            await one.close()

    def _follow_plugins(self, group: asyncio.TaskGroup) -> None:
        for one in self._polls:
            one.cancel()
        self._polls = [group.create_task(self._poll(plugin)) for plugin in self._loaded.plugins]

    async def _poll(self, plugin: Envelope) -> NoReturn:
        while True:
            seconds = _AGAIN_SECONDS
            try:
                seconds = await plugin.poll()
            except Exception as error:  # the loop's edge: no plugin may end the server
                _log.exception("A KMS plugin could not be asked", error, provider=plugin.client.name)
            await self._clock.sleep(seconds)

    async def _check(self) -> None:
        """Raises EncryptionError where a plugin is not well; the plugins are not asked at every question."""
        problem, until = self._known_health
        now = self._clock.monotonic()
        if now >= until:
            problem = await self._problem(self._loaded)
            self._known_health = problem, now + (_ILL_SECONDS if problem else _WELL_SECONDS)
        if problem:
            raise EncryptionError(problem)

    async def _problem(self, loaded: _Loaded) -> str:
        problems = []
        for index, one in enumerate(loaded.plugins):
            if why := await one.problem():
                problems.append(f"kms-provider-{index}: {why}")
        return aggregate(problems) if problems else ""

    async def _until_healthy(self, made: _Loaded) -> None:
        """Raises EncryptionError where the plugins are not well in time: what works is not given up for them."""
        deadline = self._clock.monotonic() + _HEALTHY_WITHIN_SECONDS
        while True:
            for one in made.plugins:
                await one.poll()
            problem = await self._problem(made)
            if not problem:
                return
            if self._clock.monotonic() >= deadline:
                raise EncryptionError(f"health check for new transformers failed: {problem}")
            await self._clock.sleep(_LOOK_SECONDS)

    def _load(self, text: bytes) -> _Loaded:
        found = config.parse(text, self._settings.path)
        by_resource: dict[GroupResource, list[Provider]] = {}
        plugins: list[Envelope] = []
        for one in found.resources or ():
            providers = [self._provider(given, plugins) for given in one.providers or ()]
            for name in one.resources or ():
                resource = GroupResource.parse(name)
                for wider in (GroupResource(resource.group, "*"), GroupResource("*", "*")):
                    if wider != resource and wider in by_resource:
                        raise EncryptionError(f'resource "{resource}" is masked by earlier rule "{wider}"')
                by_resource.setdefault(resource, []).extend(providers)
        rules = Rules({one: Providers(str(one), made, self._metrics) for one, made in by_resource.items()})
        return _Loaded(rules, tuple(plugins), _digest(text))

    def _provider(self, given: config.Provider, plugins: list[Envelope]) -> Provider:
        if given.kms is not None:
            plugins.append(self._plugin(given.kms))
            return plugins[-1]
        if given.aesgcm is not None:
            return _keyed(b"k8s:enc:aesgcm:v1:", given.aesgcm, GCM, "AES")
        if given.aescbc is not None:
            return _keyed(b"k8s:enc:aescbc:v1:", given.aescbc, CBC, "AES")
        if given.secretbox is not None:
            return _keyed(b"k8s:enc:secretbox:v1:", given.secretbox, Secretbox, "Secretbox")
        return IdentityProvider()

    def _plugin(self, kms: KMS) -> Envelope:
        # Who has no plugins need not wait for gRPC.
        from keelback.encryption.envelope import Envelope
        from keelback.encryption.kms_client import KMSClient

        client = KMSClient(kms.name, kms.endpoint, kms.timeout_seconds(), self._clock, self._metrics)
        return Envelope(client, self._clock, self._chance, self._metrics)


def _keyed(prefix: bytes, keys: Keys, make: Callable[[bytes], Cipher], what: str) -> KeyedProvider:
    return KeyedProvider(prefix, [(one.name, make(one.secret_bytes())) for one in keys.keys or ()], what)


def _read(path: str) -> bytes:
    """The file's text. Raises EncryptionError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise EncryptionError(
            f'error opening encryption provider configuration file "{path}": {error.strerror}'
        ) from error


def _digest(text: bytes) -> str:
    return sha256(text).hexdigest()
