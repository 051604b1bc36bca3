"""What an EncryptionConfiguration file says: which resources are encrypted, by what (apiserver.config.k8s.io/v1).

It is read strictly, and no key ever gets into a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from keelback.apimachinery import errors, yaml
from keelback.apimachinery.go_text import aggregate
from keelback.component.flags import parse_duration
from keelback.encryption.options import EncryptionError

API_VERSION = "apiserver.config.k8s.io/v1"
DEFAULT_KMS_SECONDS = 3.0
_AES_SIZES = (16, 24, 32)
_SECRETBOX_SIZES = (32,)
_WITHOUT_API = frozenset(("apiserveripinfo", "serviceipallocations", "servicenodeportallocations"))
_KMS_V1 = (
    "KMSv1 is deprecated and off by default in Kubernetes, and it is not offered here: use apiVersion v2, "
    "which the same plugins offer"
)


class GroupResource(NamedTuple):
    """A resource of a group; either may be `*`."""

    group: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> GroupResource:
        """`resource.group`, `resource` of the core group, or `*.` for all of that."""
        resource, _, group = text.partition(".")
        return cls(group, resource)

    def __str__(self) -> str:
        if self.group or self.resource == "*":
            return f"{self.resource}.{self.group}"
        return self.resource


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named key, in base64."""

    name: str = ""
    secret: str = ""

    def secret_bytes(self) -> bytes:
        """The key itself."""
        return base64.b64decode(self.secret, validate=True)


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a cipher; the first encrypts."""

    keys: tuple[Key, ...] | None = ()


class KMS(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plugin that keeps the key of keys."""

    api_version: str = msgspec.field(default="v1", name="apiVersion")
    name: str = ""
    cachesize: int | None = None
    endpoint: str = ""
    timeout: str | None = None

    def timeout_seconds(self) -> float:
        """How long a call may take. Raises ValueError."""
        return DEFAULT_KMS_SECONDS if self.timeout is None else parse_duration(self.timeout)


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to encrypt; one of these is given."""

    aesgcm: Keys | None = None
    aescbc: Keys | None = None
    secretbox: Keys | None = None
    identity: dict[str, Any] | None = None
    kms: KMS | None = None

    def given(self) -> list[str]:
        """Which of them are."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]


class ResourceConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Resources that are encrypted alike. The first provider encrypts, all decrypt."""

    resources: tuple[str, ...] | None = ()
    providers: tuple[Provider, ...] | None = ()


class EncryptionConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    kind: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")
    resources: tuple[ResourceConfiguration, ...] | None = ()


def parse(text: bytes, path: str) -> EncryptionConfiguration:
    """What the text of the file `path` says. Raises EncryptionError."""
    if not text:
        raise EncryptionError(f'encryption provider configuration file "{path}" is empty')
    try:
        tree, repeated = yaml.load(text)
        found = msgspec.convert(tree, EncryptionConfiguration)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise EncryptionError(f'error decoding encryption provider configuration file "{path}": {error}') from error
    if repeated:
        raise EncryptionError(f'error decoding encryption provider configuration file "{path}": {repeated[0]}')
    if (found.api_version, found.kind) != (API_VERSION, "EncryptionConfiguration"):
        raise EncryptionError(
            f"got unexpected config type: {found.api_version!r}, Kind={found.kind!r}: it must be {API_VERSION}, "
            "EncryptionConfiguration"
        )
    problems = [f"{one.field}: {one.body}" for one in _problems(found)]
    if problems:
        raise EncryptionError(f"invalid configuration: {aggregate(problems)}")
    return found


def _problems(found: EncryptionConfiguration) -> Iterator[errors.FieldError]:
    if not found.resources:
        yield errors.required("resources", "at least one resources is required")
    names: set[str] = set()
    for index, one in enumerate(found.resources or ()):
        of_resources, of_providers = f"resources[{index}].resources", f"resources[{index}].providers"
        if not one.resources:
            yield errors.required(of_resources, f"at least one {of_resources} is required")
        yield from _overlap_problems(one.resources or (), of_resources)
        for number, name in enumerate(one.resources or ()):
            yield from _name_problems(name, f"{of_resources}[{number}]")
        if not one.providers:
            yield errors.required(of_providers, f"at least one {of_providers} is required")
        for number, provider in enumerate(one.providers or ()):
            yield from _provider_problems(provider, f"{of_providers}[{number}]", names)


def _overlap_problems(resources: Sequence[str], field: str) -> Iterator[errors.FieldError]:
    parsed = [GroupResource.parse(one) for one in resources]
    if len(set(parsed)) < len(parsed):
        yield errors.invalid(field, list(resources), "the same resource cannot be specified multiple times")
    pairs = [(one, other) for at, one in enumerate(parsed) for other in parsed[at + 1 :] if one != other]
    if any(_overlap(one, other) for one, other in pairs):
        detail = (
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they "
            "will be masked"
        )
        yield errors.invalid(field, list(resources), detail)


def _overlap(one: GroupResource, other: GroupResource) -> bool:
    if GroupResource("*", "*") in (one, other):
        return True
    return one.group == other.group and "*" in (one.resource, other.resource)


def _name_problems(name: str, field: str) -> Iterator[errors.FieldError]:
    found = GroupResource.parse(name)
    problem = ""
    if name != name.lower():
        problem = "resource name should not contain capital letters"
    elif name == "*":
        problem = "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    elif name in _WITHOUT_API:
        problem = "resources which do not have REST API/s cannot be encrypted"
    elif found.group == "events.k8s.io":
        problem = (
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the "
            "config file"
        )
    elif found.group == "extensions":
        problem = "'extensions' group has been removed and cannot be used for encryption"
    elif found.group == "*" and found.resource != "*":
        problem = "encrypting the same resource across groups is not supported"
    if problem:
        yield errors.invalid(field, name, problem)


def _provider_problems(provider: Provider, field: str, names: set[str]) -> Iterator[errors.FieldError]:
    given = provider.given()
    if not given:
        detail = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        yield errors.invalid(field, errors.OMITTED, detail)
    elif len(given) > 1:
        detail = "more than one provider specified in a single element, should split into different list elements"
        yield errors.invalid(field, errors.OMITTED, detail)
    elif provider.kms is not None:
        yield from _kms_problems(provider.kms, f"{field}.kms", names)
        names.add(provider.kms.name)
    else:
        for name, sizes in (("aesgcm", _AES_SIZES), ("aescbc", _AES_SIZES), ("secretbox", _SECRETBOX_SIZES)):
            keys = getattr(provider, name)
            if keys is not None:
                yield from _keys_problems(keys.keys or (), f"{field}.{name}.keys", sizes)


def _keys_problems(keys: Sequence[Key], field: str, sizes: Sequence[int]) -> Iterator[errors.FieldError]:
    if not keys:
        yield errors.required(field, "at least one keys is required")
    for index, key in enumerate(keys):
        path = f"{field}[{index}]"
        if not key.name:
            yield errors.required(f"{path}.name", "name is a mandatory field for a key")
        if not key.secret:
            yield errors.required(f"{path}.secret", "secret is a mandatory field for a key")
            continue
        try:
            size = len(key.secret_bytes())
        except (binascii.Error, ValueError):
            yield errors.invalid(f"{path}.secret", "REDACTED", "secrets must be base64 encoded")
            continue
        if size not in sizes:
            expected = f"[{' '.join(map(str, sizes))}]"
            detail = f"secret is not of the expected length, got {size}, expected one of {expected}"
            yield errors.invalid(f"{path}.secret", "REDACTED", detail)


def _kms_problems(kms: KMS, field: str, names: set[str]) -> Iterator[errors.FieldError]:
    name = kms.name
    if not name:
        yield errors.required(f"{field}.name", "name is a mandatory field for a provider")
    if ":" in name:
        yield errors.invalid(f"{field}.name", name, f"invalid KMS provider name {name}, must not contain ':'")
    if name in names:
        yield errors.invalid(f"{field}.name", name, f"duplicate KMS provider name {name}, names must be unique")
    try:
        if kms.timeout_seconds() <= 0:
            yield errors.invalid(f"{field}.timeout", kms.timeout, "timeout should be a positive value")
    except ValueError as error:
        yield errors.invalid(f"{field}.timeout", kms.timeout, str(error))
    if not kms.endpoint:
        yield errors.invalid(f"{field}.endpoint", "", "endpoint is a mandatory field for a kms")
    elif (scheme := urlsplit(kms.endpoint).scheme) != "unix":
        detail = f'unsupported scheme "{scheme}" for KMS provider, only unix is supported'
        yield errors.invalid(f"{field}.endpoint", kms.endpoint, detail)
    if kms.api_version == "v1":
        yield errors.invalid(f"{field}.apiVersion", "v1", _KMS_V1)
    elif kms.api_version != "v2":
        detail = f"unsupported apiVersion {kms.api_version} for KMS provider, only v2 is supported"
        yield errors.invalid(f"{field}.apiVersion", kms.api_version, detail)
    elif kms.cachesize is not None:
        yield errors.invalid(f"{field}.cachesize", kms.cachesize, "cachesize is not supported in v2")
