"""Writes to one resource: what is true of every kind, from the generated name to the last finalizer.

A write decides on a value it read, asks admission, then compares and swaps; where another write came between, it
reads again. What differs from kind to kind is the strategy's.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from keelback.apimachinery import errors, go_numbers, protobuf_size, validation
from keelback.apimachinery.meta import Kind, ManagedFieldsEntry, Object, replace, with_metadata
from keelback.apiserver import owner_references
from keelback.apiserver.deletion import Deletion, is_finished, marked
from keelback.apiserver.steps import OFFER
from keelback.apiserver.watch_wire import with_version
from keelback.component.evaluations import Evaluations, size_bytes
from keelback.registry.strategy import Strategy
from keelback.storage.protocol import CompareFailed, KeyValue, Store

T = TypeVar("T", bound=Object)

# A binding gives a node to a pod as it is: nobody has asked anything else of it.
_OF_THE_SAME_GENERATION = frozenset(("status", "binding"))
# Nothing that such a write gives has defaults which depend on other fields.
_DEFAULTED_ALREADY = frozenset(("status", "binding"))
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED_BASE = 63 - 5
_GENERATE_ATTEMPTS = 8
_SWAP_ATTEMPTS = 16
_MAX_REQUEST_BYTES = 1536 * 1024
"""What etcd takes in one request unless told otherwise. Objects that are larger here could not be moved there."""


class Admission(Protocol):
    """Admission of one request, with its user and options already bound."""

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        """The object to store. Raises StatusError."""
        ...

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        """Raises StatusError when the write may not be."""
        ...


class FieldOwnership(Protocol):
    """Records who wrote which fields (managedFields)."""

    def track(self, old: Any, new: Any, write: Write) -> tuple[ManagedFieldsEntry, ...]:
        """The managed fields after an ordinary (not applied) write."""
        ...


class Allocator(Protocol):
    """Gives an object what is scarce in the cluster: addresses, ports."""

    async def allocate(self, new: Any, old: Any, *, dry_run: bool) -> Any:
        """The object with what it needs. Raises StatusError where nothing is left or something is taken."""
        ...

    async def settle(self, obj: Any) -> None:
        """The write of what was allocated is over, whether it was made or not."""
        ...

    async def give_back(self, dropped: Any, kept: Any) -> None:
        """Let go of what an object holds that is no more, or never came to be, and that `kept` (or None) holds not."""
        ...


@dataclass(frozen=True, slots=True)
class Write:
    """How a write is made: its present, its manager and its admission. `subresource` is "" for the object itself."""

    now: datetime
    manager: str
    admission: Admission
    subresource: str = ""
    dry_run: bool = False
    is_apply: bool = False
    warn: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a write left: the object, and the bytes to answer with."""

    obj: T
    wire: bytes
    is_created: bool = False
    is_gone: bool = False
    """The write removed the object."""
    old: T | None = None
    """What an update changed."""


Change = Callable[[T], Awaitable[T]]


class ResourceStore(Generic[T]):
    """One resource in the store."""

    def __init__(
        self,
        store: Store,
        strategy: Strategy[T],
        *,
        ownership: FieldOwnership,
        new_uid: Callable[[], str],
        chance: random.Random,
        allocator: Allocator | None = None,
        evaluations: Evaluations | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        """`evaluations` runs the rules of custom resources; objects are gone `ttl_seconds` after they were written."""
        self._ttl_seconds = ttl_seconds
        self._allocator = allocator
        self._evaluations = evaluations
        self.strategy = strategy
        self.kind: Kind = strategy.kind.__kind__
        self.prefix = f"/registry/{strategy.storage_path or self.kind.plural}/"
        self._store = store
        self._ownership = ownership
        self._new_uid = new_uid
        self._chance = chance

    @property
    def backend(self) -> Store:
        """Where the objects are."""
        return self._store

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.kind.namespaced else f"{self.prefix}{name}"

    def wire(self, stored: bytes, revision: int) -> bytes:
        """Stored bytes as they are served."""
        return with_version(stored, self.kind.head, revision)

    async def get(self, namespace: str, name: str) -> T:
        """The object as it is now. Raises NotFound."""
        current = await self._store.get(self.key(namespace, name))
        if current is None:
            raise errors.NotFound.of(self.kind, name)
        return self._decoded(current)

    async def replace_status(self, obj: T) -> None:
        """Write an object the server itself has changed since it read it. Raises Conflict when it is not the newest."""
        name = obj.metadata.name
        stored = self._kept(self.strategy.encode(obj))
        try:
            await self._store.put(
                self.key(obj.metadata.namespace, name), stored, expected_revision=int(obj.metadata.resource_version)
            )
        except CompareFailed:
            raise errors.Conflict.of(self.kind, name) from None

    async def create(self, obj: T, write: Write) -> Written[T]:
        """Store a new object. Raises AlreadyExists, Invalid, and what admission refuses with."""
        await OFFER
        obj = self.strategy.default(self._without_own_fields(obj))
        obj = with_metadata(obj, managed_fields=self._ownership.track(None, obj, write))
        await OFFER
        # Who may change it sees it before it has a name, an uid and a time.
        admitted = await write.admission.admit("CREATE", obj, None)
        if admitted is not obj:
            # What a webhook put in (a sidecar, say) needs its defaults too.
            obj = owner_references.without_repeated(self.strategy.default(admitted), write.warn, is_admitted=True)
        generated = not obj.metadata.name and bool(obj.metadata.generate_name)
        for attempt in range(_GENERATE_ATTEMPTS):
            named = self._with_generated_name(obj) if generated else obj
            try:
                return await self._create_named(named, write)
            except errors.AlreadyExists as error:
                if not obj.metadata.generate_name:
                    raise
                if not generated or attempt == _GENERATE_ATTEMPTS - 1:
                    raise _no_unique_name(error) from None
        raise AssertionError("unreachable")

    async def _create_named(self, obj: T, write: Write) -> Written[T]:
        created = write.now.replace(microsecond=0)
        obj = self.strategy.prepare_for_create(with_metadata(obj, uid=self._new_uid(), creation_timestamp=created))
        if self._allocator is None:
            return await self._create_prepared(obj, write)
        obj = await self._allocator.allocate(obj, None, dry_run=write.dry_run)
        written = None
        try:
            written = await self._create_prepared(obj, write)
        finally:
            if written is None:
                await self._give_back(obj, None, write)
            await self._settle(obj, write)
        return written

    async def _create_prepared(self, obj: T, write: Write) -> Written[T]:
        await OFFER
        problems = [
            *self._metadata_problems(obj),
            *await self._checked(lambda strategy: strategy.validate(obj), obj),
        ]
        if problems:
            raise errors.Invalid.of(self.kind, obj.metadata.name, problems)
        await write.admission.validate("CREATE", obj, None)
        stored = self.strategy.encode(obj)
        key = self.key(obj.metadata.namespace, obj.metadata.name)
        if write.dry_run:
            if (current := await self._store.get(key)) is not None:
                raise self._already_exists(current)
            return Written(obj, stored, is_created=True)
        try:
            revision = await self._store.put(
                key, self._kept(stored), expected_revision=0, ttl_seconds=self._ttl_seconds
            )
        except CompareFailed as failed:
            raise self._already_exists(failed.current, obj.metadata.name) from None
        return Written(self._versioned(obj, revision), self.wire(stored, revision), is_created=True)

    async def _give_back(self, dropped: T, kept: T | None, write: Write) -> None:
        if self._allocator is not None and not write.dry_run:
            await self._allocator.give_back(dropped, kept)

    async def _settle(self, obj: T, write: Write) -> None:
        if self._allocator is not None and not write.dry_run:
            await self._allocator.settle(obj)

    def _already_exists(self, current: KeyValue | None, name: str = "") -> errors.StatusError:
        if current is not None:
            existing = self._decoded(current)
            error = errors.AlreadyExists.of(self.kind, existing.metadata.name)
            if existing.metadata.deletion_timestamp is not None:
                return errors.AlreadyExists(f"object is being deleted: {error.message}", details=error.status.details)
            return error
        return errors.AlreadyExists.of(self.kind, name)

    def _without_own_fields(self, obj: T) -> T:
        """What clients may not say is dropped, and what is begun with is said."""
        generation = self.strategy.first_generation if self.strategy.counts_generations else 0
        return with_metadata(without_system_fields(obj), resource_version="", generation=generation)

    def _with_generated_name(self, obj: T) -> T:
        suffix = "".join(self._chance.choice(_NAME_ALPHABET) for _ in range(5))
        return with_metadata(obj, name=obj.metadata.generate_name[:_MAX_GENERATED_BASE] + suffix)

    def _metadata_problems(self, obj: T) -> Iterable[errors.FieldError]:
        return validation.object_meta(
            obj.metadata,
            namespaced=self.kind.namespaced,
            name_problems=self.strategy.validate_name,
            bare_finalizers=self.strategy.bare_finalizers,
        )

    async def update(
        self,
        namespace: str,
        name: str,
        change: Change[T],
        write: Write,
        *,
        create: Callable[[], Awaitable[T]] | None = None,
        must_name_version: bool = False,
    ) -> Written[T]:
        """Replace an object by what `change` makes of it; where there is none, by what `create` makes, if given.

        A resourceVersion in the new object is a condition. Raises NotFound, Conflict, Invalid.
        """
        key = self.key(namespace, name)
        for _ in range(_SWAP_ATTEMPTS):
            current = await self._store.get(key)
            if current is None:
                if create is None:
                    raise errors.NotFound.of(self.kind, name)
                return await self.create(await create(), write)
            old = self._decoded(current)
            new = await change(old)
            await OFFER
            conditional = self._check_conditions(new, old, name, key, must_name_version)
            new = await self._prepared_for_update(new, old, write)
            written = None
            try:
                await self._check_update(new, old, write)
                written = await self._swap(key, current, new, old, write)
                return written
            except CompareFailed:
                if conditional:
                    raise errors.Conflict.of(self.kind, name) from None
            finally:
                if self._allocator is not None:
                    dropped, kept = (new, old) if written is None else (old, None if written.is_gone else new)
                    await self._give_back(dropped, kept, write)
                    await self._settle(new, write)
        raise errors.Conflict.of(self.kind, name)

    def _check_conditions(self, new: T, old: T, name: str, key: str, must_name_version: bool) -> bool:
        wanted = new.metadata.resource_version
        if wanted and wanted != "0":
            try:
                go_numbers.parse_uint(wanted)
            except ValueError as error:
                raise errors.StatusError(str(error), code=500) from error
            if wanted != old.metadata.resource_version:
                raise errors.Conflict.of(self.kind, name)
        elif must_name_version and self.strategy.needs_resource_version_to_update:
            problem = errors.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise errors.Invalid.of(self.kind, name, [problem], subject=self.kind.resource)
        if new.metadata.uid and new.metadata.uid != old.metadata.uid and must_name_version:
            raise precondition_failure(self.kind, name, key, "UID", new.metadata.uid, old.metadata.uid)
        return bool(wanted and wanted != "0")

    async def _prepared_for_update(self, new: T, old: T, write: Write) -> T:
        strategy = self.strategy
        before = old.metadata
        new = with_metadata(
            new,
            uid=new.metadata.uid or before.uid,
            creation_timestamp=before.creation_timestamp,
            deletion_timestamp=before.deletion_timestamp,
            deletion_grace_period_seconds=before.deletion_grace_period_seconds,
            generation=before.generation,
            generate_name=new.metadata.generate_name or before.generate_name,
            self_link="",
            resource_version=before.resource_version,
        )
        if write.subresource not in _DEFAULTED_ALREADY:
            new = strategy.default(new, old)
        new = with_metadata(new, managed_fields=self._ownership.track(old, new, write))
        admitted = await write.admission.admit("UPDATE", new, old)
        if admitted is not new and not write.subresource:
            admitted = strategy.default(admitted, old)
        new = owner_references.without_repeated(admitted, write.warn, is_admitted=True)
        if write.subresource == "status":
            new = strategy.prepare_for_status_update(new, old)
        elif not write.subresource:
            new = strategy.prepare_for_update(new, old)
        new = strategy.with_times(new, old, write.now)
        if (
            strategy.counts_generations
            and write.subresource not in _OF_THE_SAME_GENERATION
            and strategy.spec_changed(new, old)
        ):
            new = with_metadata(new, generation=before.generation + 1)
        if self._allocator is not None and not write.subresource:
            new = await self._allocator.allocate(new, old, dry_run=write.dry_run)
        return new

    async def _check_update(self, new: T, old: T, write: Write) -> None:
        """Raises Invalid, and what admission refuses with."""
        await OFFER
        strategy = self.strategy
        before = old.metadata
        of_metadata = list(validation.object_meta_update(new.metadata, before))
        problems = list(of_metadata)
        # Upstream checks metadata in general and most kinds' own validation does again, so that causes come twice.
        if strategy.checks_metadata_twice:
            problems.extend(of_metadata)
            if not strategy.bare_finalizers:
                problems.extend(validation.no_bare_finalizers(new.metadata.finalizers, "metadata.finalizers"))
        if strategy.checks_metadata_as_new and write.subresource != "status":
            problems.extend(self._metadata_problems(new))
        problems.extend(await self._checked(lambda strategy: _update_problems(strategy, new, old, write), new, old))
        if problems:
            raise errors.Invalid.of(self.kind, before.name, problems)
        await write.admission.validate("UPDATE", new, old)

    async def _checked(
        self, check: Callable[[Strategy[T]], Iterable[errors.FieldError]], *objects: T
    ) -> Iterable[errors.FieldError]:
        """What the strategy finds wrong. Rules that users wrote may take their time."""
        strategy = self.strategy
        if self._evaluations is None or strategy.read_by_rules(objects[0]) is None:
            return check(strategy)
        size = sum(size_bytes(strategy.read_by_rules(one)) for one in objects)
        return await self._evaluations.run(lambda patience: list(check(strategy.patient(patience))), size)

    async def _swap(self, key: str, current: KeyValue, new: T, old: T, write: Write) -> Written[T]:
        stored = self.strategy.encode(new)
        kept = self.strategy.to_storage(stored)
        if kept == current.value and not current.is_stale and self._ttl_seconds is None:
            return Written(new, self.wire(stored, current.mod_revision), old=old)
        if is_finished(new, self.strategy):
            if not write.dry_run:
                revision, _ = await self._store.delete(key, expected_revision=current.mod_revision)
                return Written(self._versioned(new, revision), self.wire(stored, revision), is_gone=True, old=old)
            return Written(new, self.wire(stored, current.mod_revision), is_gone=True, old=old)
        if write.dry_run:
            return Written(new, self.wire(stored, current.mod_revision), old=old)
        _check_size(kept)
        revision = await self._store.put(
            key, kept, expected_revision=current.mod_revision, ttl_seconds=self._ttl_seconds
        )
        return Written(self._versioned(new, revision), self.wire(stored, revision), old=old)

    async def delete(self, namespace: str, name: str, options: Deletion, write: Write) -> Written[T]:
        """Delete an object, at once or in steps: grace first, then the finalizers. Raises NotFound, Conflict."""
        key = self.key(namespace, name)
        for _ in range(_SWAP_ATTEMPTS):
            current = await self._store.get(key)
            if current is None:
                raise errors.NotFound.of(self.kind, name)
            old = self._decoded(current)
            options.check_preconditions(self.kind, old.metadata)
            await write.admission.admit("DELETE", None, old)
            await write.admission.validate("DELETE", None, old)
            new = marked(old, options, self.strategy, write.now)
            try:
                if new is None or is_finished(new, self.strategy):
                    return await self._remove(key, current, new or old, write)
                if new == old:
                    return Written(old, self.wire(self.strategy.from_storage(current.value), current.mod_revision))
                stored = self.strategy.encode(new)
                if write.dry_run:
                    return Written(new, self.wire(stored, current.mod_revision))
                revision = await self._store.put(key, self._kept(stored), expected_revision=current.mod_revision)
                return Written(self._versioned(new, revision), self.wire(stored, revision))
            except CompareFailed:
                continue
        raise errors.Conflict.of(self.kind, name)

    async def _remove(self, key: str, current: KeyValue, last: T, write: Write) -> Written[T]:
        stored = self.strategy.encode(last)
        revision = current.mod_revision
        if not write.dry_run:
            revision, _ = await self._store.delete(key, expected_revision=current.mod_revision)
            await self._give_back(last, None, write)
        return Written(self._versioned(last, revision), self.wire(stored, revision), is_gone=True)

    def _kept(self, wire: bytes) -> bytes:
        """What the store gets. Raises StatusError where that is too large."""
        kept = self.strategy.to_storage(wire)
        _check_size(kept)
        return kept

    def _decoded(self, current: KeyValue) -> T:
        return self._versioned(self.strategy.decode(self.strategy.from_storage(current.value)), current.mod_revision)

    def _versioned(self, obj: T, revision: int) -> T:
        return with_metadata(obj, resource_version=str(revision))


def without_system_fields(obj: T) -> T:
    """An object without what only the server says of it (rest.WipeObjectMetaSystemFields)."""
    return with_metadata(
        obj,
        uid="",
        creation_timestamp=None,
        deletion_timestamp=None,
        deletion_grace_period_seconds=None,
        self_link="",
    )


def precondition_failure(kind: Kind, name: str, key: str, what: str, wanted: str, found: str) -> errors.Conflict:
    """What etcd's layer says of an object that is another than the one meant."""
    return errors.Conflict.of(
        kind,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition "
        f"failed: {what} in precondition: {wanted}, {what} in object meta: {found}",
    )


def _update_problems(strategy: Strategy[T], new: T, old: T, write: Write) -> Iterable[errors.FieldError]:
    if write.subresource == "status":
        return strategy.validate_status_update(new, old)
    if write.subresource:
        return strategy.validate_part_update(write.subresource, new, old)
    return strategy.validate_update(new, old)


def _no_unique_name(error: errors.AlreadyExists) -> errors.AlreadyExists:
    """What upstream says wherever generateName is set, even where the name was given as well."""
    details = error.status.details
    return errors.AlreadyExists(
        f"{error.message}, the server was not able to generate a unique name for the object",
        details=None if details is None else replace(details, retry_after_seconds=1),
    )


def _check_size(kept: bytes) -> None:
    # etcd's words pass through upstream's API server as they are, with code 500 and no reason; clients look for them.
    if len(kept) > _MAX_REQUEST_BYTES and protobuf_size.stored_size(kept) > _MAX_REQUEST_BYTES:
        raise errors.StatusError("etcdserver: request is too large")
