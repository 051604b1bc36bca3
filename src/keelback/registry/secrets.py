"""Secrets: stringData is written into data, the type says which keys there must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import Secret
from keelback.apimachinery import codecs, names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required, too_long
from keelback.apimachinery.meta import replace
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

MAX_BYTES = 1024 * 1024
SERVICE_ACCOUNT_NAME_ANNOTATION = "kubernetes.io/service-account.name"
_IMMUTABLE = "field is immutable when `immutable` is set"
_NEEDED_KEYS = {"kubernetes.io/ssh-auth": ("ssh-privatekey",), "kubernetes.io/tls": ("tls.crt", "tls.key")}


class SecretFields(msgspec.Struct, frozen=True):
    """What secrets can be selected by."""

    type: str = ""


class SecretStrategy(Strategy[Secret]):
    kind = Secret
    checks_metadata_as_new = True
    counts_generations = False
    columns = (text("Type", lambda one: one.type), Column("Data", lambda one, _now: len(one.data)), AGE)
    field_type: ClassVar[type[msgspec.Struct]] = SecretFields
    field_names = ("type",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"type": narrow.type}

    def default(self, new: Secret, old: Secret | None = None) -> Secret:
        if not new.string_data:
            return replace(new, type=new.type or "Opaque") if not new.type else new
        data = {**new.data, **{key: value.encode() for key, value in new.string_data.items()}}
        return replace(new, data=data, string_data={}, type=new.type or "Opaque")

    def prepare_for_update(self, new: Secret, old: Secret) -> Secret:
        # An update without a type keeps the one there is: the type cannot change.
        return new if new.type else replace(new, type=old.type)

    def validate(self, new: Secret) -> Iterator[FieldError]:
        total = 0
        for key, value in new.data.items():
            for complaint in names.config_map_key(key):
                yield invalid(f"data[{key}]", key, complaint)
            total += len(value)
        if total > MAX_BYTES:
            yield too_long("data", MAX_BYTES)
        yield from _for_type(new)

    def validate_update(self, new: Secret, old: Secret) -> Iterator[FieldError]:
        if new.type != old.type:
            yield invalid("type", new.type, "field is immutable")
        if old.immutable:
            if not new.immutable:
                yield forbidden("immutable", _IMMUTABLE)
            if new.data != old.data:
                yield forbidden("data", _IMMUTABLE)
        yield from self.validate(new)

    def warnings(self, new: Secret, old: Secret | None) -> Iterable[str]:
        if new.type != "kubernetes.io/tls":
            return
        for key in ("tls.crt", "tls.key"):
            if b"-----BEGIN" not in new.data.get(key, b"-----BEGIN"):
                yield "tls: failed to find any PEM data in " + ("certificate" if key == "tls.crt" else "key") + " input"
                return


def _for_type(secret: Secret) -> Iterator[FieldError]:
    match secret.type:
        case "kubernetes.io/service-account-token":
            if not secret.metadata.annotations.get(SERVICE_ACCOUNT_NAME_ANNOTATION):
                yield required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME_ANNOTATION}]")
        case "kubernetes.io/dockercfg":
            yield from _json_key(secret, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            yield from _json_key(secret, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in secret.data and "password" not in secret.data:
                yield required("data[username]")
                yield required("data[password]")
        case _:
            for key in _NEEDED_KEYS.get(secret.type, ()):
                if key not in secret.data or (secret.type == "kubernetes.io/ssh-auth" and not secret.data[key]):
                    yield required(f"data[{key}]")


def _json_key(secret: Secret, key: str) -> Iterator[FieldError]:
    if key not in secret.data:
        yield required(f"data[{key}]")
        return
    try:
        tree = codecs.loads(secret.data[key])
    except codecs.DecodeError as error:
        yield invalid(f"data[{key}]", "<secret contents redacted>", str(error))
        return
    if tree is not None and not isinstance(tree, dict):
        word = "array" if isinstance(tree, list) else _JSON_WORDS.get(type(tree), "number")
        why = f"json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"
        yield invalid(f"data[{key}]", "<secret contents redacted>", why)


_JSON_WORDS = {bool: "bool", str: "string"}
