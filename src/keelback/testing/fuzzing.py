"""Requests nobody should send, made from valid ones by chance: what they hit must answer, and never with a defect.

Everything follows from a `random.Random`, so that a finding is made again by its seed.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from keelback.api.builtin import STORED
from keelback.apimachinery.meta import Object
from keelback.apimachinery.shapes import Shape, shape_of
from keelback.component.http import Request
from keelback.testing import fuzzing_protobuf, fuzzing_rules, protobuf_bodies
from keelback.testing.api import ADMINISTRATOR
from keelback.testing.fuzzing_samples import collection, sample
from keelback.testing.fuzzing_values import (
    ACCEPTS,
    APPLY,
    CONTENT_TYPES,
    HOSTILE,
    JSON_PATCH,
    KEYS,
    NAMES,
    PATCHES,
    PATHS,
    QUERY,
    REVIEW_SPEC,
    REVIEWS,
    SUBRESOURCES,
    YAML_ODDITIES,
    Tree,
)


class RequestMaker:
    """Makes requests by chance. `kinds` are those whose objects it spoils."""

    def __init__(self, chance: random.Random, kinds: Sequence[type[Object]] = STORED) -> None:
        self._chance = chance
        self._kinds = kinds
        self._makers: tuple[tuple[int, Callable[[], Request]], ...] = (
            (30, self._create),
            (14, self._replace),
            (24, self._patch),
            (10, self._read),
            (4, self._watch),
            (6, self._delete),
            (6, self._subresource),
            (5, self._review),
            (4, self._custom),
            (8, self._ruled),
            (5, self._odd_path),
        )

    def valid(self, kind: type[Object], name: str) -> Request:
        """A create that should succeed: what the others work on."""
        headers = {"accept": "application/json", "content-type": "application/json"}
        return Request("POST", collection(kind), "", headers, _json(sample(kind, name)), identity=ADMINISTRATOR)

    def armed(self) -> list[Request]:
        """Creates of what later requests run into: rules, and policies that match them."""
        headers = {"accept": "application/json", "content-type": "application/json"}
        wanted = (*fuzzing_rules.ARMED, (fuzzing_rules.PATH, fuzzing_rules.ruled("fuzz")))
        return [Request("POST", path, "", headers, _json(tree), identity=ADMINISTRATOR) for path, tree in wanted]

    def next(self) -> Request:
        """The next request."""
        weights = [weight for weight, _ in self._makers]
        return self._chance.choices([maker for _, maker in self._makers], weights)[0]()

    def _create(self) -> Request:
        kind = self._kind()
        tree = self._spoiled(sample(kind, self._name()), kind)
        content_type, body = self._written(tree)
        return self._request(
            "POST", collection(kind), self._query(("dryRun", "fieldValidation", "fieldManager")), content_type, body
        )

    def _replace(self) -> Request:
        kind = self._kind()
        name = self._chance.choice(("fuzz", "fuzz-1"))
        tree = sample(kind, name)
        path = f"{collection(kind)}/{tree['metadata']['name']}"
        content_type, body = self._written(self._spoiled(tree, kind))
        if self._chance.random() < 0.2:
            path += "/status"
        return self._request(
            "PUT", path, self._query(("dryRun", "fieldValidation", "fieldManager")), content_type, body
        )

    def _patch(self) -> Request:
        kind = self._kind()
        tree = sample(kind, "fuzz")
        path = f"{collection(kind)}/{tree['metadata']['name']}"
        if self._chance.random() < 0.2:
            path += f"/{self._chance.choice(('status', 'scale', 'resize', 'ephemeralcontainers'))}"
        content_type = self._chance.choice(PATCHES)
        patch: Tree = self._operations(tree) if content_type == JSON_PATCH else self._partial(self._spoiled(tree, kind))
        body = self._spoiled_bytes(_json(patch))
        query = self._query(("dryRun", "fieldValidation", "force"))
        if content_type == APPLY and self._chance.random() < 0.9:
            query += "&fieldManager=m"
        return self._request("PATCH", path, query.lstrip("&"), content_type, body)

    def _read(self) -> Request:
        kind = self._kind()
        path = collection(kind, self._chance.choice(("default", "default", "gone", "é")))
        if self._chance.random() < 0.3:
            path += f"/{self._name()}"
        names: tuple[str, ...] = (
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "labelSelector",
            "fieldSelector",
            "watch",
        )
        names += ("timeoutSeconds", "sendInitialEvents", "allowWatchBookmarks", "pretty", "includeObject")
        query = self._query(self._chance.sample(names, 4), likely=0.6)
        return self._request(self._chance.choice(("GET", "GET", "GET", "HEAD")), path, query, "", b"")

    def _watch(self) -> Request:
        chance = self._chance
        path = collection(self._kind()) if chance.random() < 0.8 else fuzzing_rules.PATH
        names = ["resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector", "timeoutSeconds"]
        names += ["sendInitialEvents", "allowWatchBookmarks", "limit", "continue", "includeObject"]
        query = self._query(names, likely=0.25)
        if chance.random() < 0.3:
            query += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        if chance.random() < 0.2:
            return self._request("GET", path.replace("/v1/", "/v1/watch/", 1), query.lstrip("&"), "", b"")
        return self._request("GET", path, f"{query}&watch=1".lstrip("&"), "", b"")

    def _ruled(self) -> Request:
        chance = self._chance
        tree = fuzzing_rules.ruled(chance.choice(("fuzz", "fuzz-1", "fuzz-2")))
        query = self._query(("dryRun", "fieldValidation"))
        path = fuzzing_rules.PATH
        name = tree["metadata"]["name"]
        match chance.randrange(5):
            case 0:
                content_type, body = self._written(self._spoiled(tree, None))
                return self._request("POST", path, query, content_type, body)
            case 1:
                content_type, body = self._written(self._spoiled(tree, None))
                return self._request("PUT", f"{path}/{name}", query, content_type, body)
            case 2:
                part = chance.choice(("status", "scale"))
                scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}}
                sent = tree if part == "status" else {**scale, "spec": {"replicas": 2}}
                content_type, body = self._written(self._spoiled(sent, None))
                return self._request("PUT", f"{path}/{name}/{part}", query, content_type, body)
        content_type = chance.choice(PATCHES)
        patch = self._operations(tree) if content_type == JSON_PATCH else self._partial(self._spoiled(tree, None))
        query = f"{query}&fieldManager=m".lstrip("&")
        return self._request("PATCH", f"{path}/{name}", query, content_type, self._spoiled_bytes(_json(patch)))

    def _delete(self) -> Request:
        kind = self._kind()
        path = collection(kind)
        if self._chance.random() < 0.7:
            path += f"/{self._name()}"
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Background",
            "preconditions": {"uid": "x", "resourceVersion": "1"},
        }
        query = self._query(
            ("dryRun", "propagationPolicy", "gracePeriodSeconds", "orphanDependents", "labelSelector", "limit")
        )
        body = self._spoiled_bytes(_json(self._spoiled(options, None))) if self._chance.random() < 0.5 else b""
        return self._request("DELETE", path, query, self._content_type("application/json"), body)

    def _subresource(self) -> Request:
        kind = self._kind()
        path = f"{collection(kind)}/{self._name()}/{self._chance.choice(SUBRESOURCES)}"
        method = self._chance.choice(("GET", "POST", "PUT", "PATCH", "DELETE"))
        content_type, body = self._written(self._spoiled(sample(kind, "fuzz"), kind)) if method != "GET" else ("", b"")
        return self._request(method, path, self._query(("container", "tailLines", "dryRun")), content_type, body)

    def _review(self) -> Request:
        path, (version, kind) = self._chance.choice(list(REVIEWS.items()))
        tree = {"apiVersion": version, "kind": kind, "metadata": {"name": "fuzz"}, "spec": dict(REVIEW_SPEC)}
        if kind == "Binding":
            tree["target"] = {"kind": "Node", "name": "fuzz"}
        content_type, body = self._written(self._spoiled(tree, None))
        return self._request("POST", path, self._query(("dryRun",)), content_type, body)

    def _custom(self) -> Request:
        tree = {
            "apiVersion": "fuzz.example.com/v1",
            "kind": "Fuzz",
            "metadata": {"name": self._chance.choice(("fuzz", "fuzz-1"))},
            "spec": {"n": 1, "s": "x", "other": {}},
        }
        path = "/apis/fuzz.example.com/v1/namespaces/default/fuzzs"
        if self._chance.random() < 0.5:
            content_type, body = self._written(self._spoiled(tree, None))
            return self._request("POST", path, self._query(("dryRun", "fieldValidation")), content_type, body)
        content_type = self._chance.choice(PATCHES)
        patch = self._operations(tree) if content_type == JSON_PATCH else self._partial(self._spoiled(tree, None))
        path += self._chance.choice(("/fuzz", "/fuzz/status", "/fuzz-1"))
        return self._request("PATCH", path, "fieldManager=m", content_type, self._spoiled_bytes(_json(patch)))

    def _odd_path(self) -> Request:
        method = self._chance.choice(
            ("GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH")
        )
        query = self._query(self._chance.sample(list(QUERY), 3))
        return self._request(method, self._chance.choice(PATHS), query, self._content_type(""), b"")

    # The parts of a request.

    def _request(self, method: str, path: str, query: str, content_type: str, body: bytes) -> Request:
        chance = self._chance
        if chance.random() < 0.02:
            method = chance.choice(("BREW", "get", "CONNECT", "PROPFIND", "PUT", "POST", "DELETE"))
        headers = {"accept": chance.choice(ACCEPTS) if chance.random() < 0.3 else "application/json"}
        if content_type:
            headers["content-type"] = content_type
        if chance.random() < 0.02:
            headers[chance.choice(("impersonate-user", "impersonate-group", "impersonate-uid"))] = chance.choice(
                ("", "x", "é")
            )
        if chance.random() < 0.02:
            headers["user-agent"] = chance.choice(("", "/", "é" * 200, "a" * 300, "\x01"))
        if "webhookconfigurations" in path and "dryRun" not in query:
            # A webhook that took effect would be asked about everything that follows.
            query = f"{query}&dryRun=All".lstrip("&")
        return Request(method, path, query, headers, body, identity=ADMINISTRATOR)

    def _kind(self) -> type[Object]:
        return self._chance.choice(self._kinds)

    def _name(self) -> str:
        return self._chance.choice(NAMES[:3] if self._chance.random() < 0.8 else NAMES)

    def _content_type(self, usual: str) -> str:
        return usual if self._chance.random() < 0.9 else self._chance.choice(CONTENT_TYPES)

    def _query(self, names: Sequence[str], likely: float = 0.15) -> str:
        given = []
        for name in names:
            if self._chance.random() < likely:
                value = self._chance.choice(QUERY[name])
                safe = "&=" if "&" in value else ""
                given.append(f"{name}={quote(value, safe=safe)}" if self._chance.random() < 0.95 else f"{name}={value}")
        return "&".join(given)

    def _written(self, tree: Tree) -> tuple[str, bytes]:
        """A tree in one of the three encodings, sometimes spoilt, sometimes misnamed."""
        chosen = self._chance.random()
        if chosen < 0.6:
            return self._content_type("application/json"), self._spoiled_bytes(_json(tree))
        if chosen < 0.75:
            return self._content_type("application/yaml"), self._spoiled_bytes(self._yaml(tree))
        body = protobuf_bodies.encode(tree)
        if self._chance.random() < 0.4:
            body = fuzzing_protobuf.spoiled(body, self._chance)
        return self._content_type("application/vnd.kubernetes.protobuf"), self._spoiled_bytes(body)

    def _yaml(self, tree: Tree) -> bytes:
        text = _json(tree)
        chosen = self._chance.random()
        if chosen < 0.7:
            return text
        return self._chance.choice(YAML_ODDITIES) + (b"\n" + text if chosen < 0.8 else b"")

    # Mutations.

    def _spoiled(self, tree: Tree, kind: type[Object] | None) -> Tree:
        """A tree with none to three things wrong with it, and some fields that were not there."""
        tree = json.loads(json.dumps(tree))
        shape = shape_of(kind) if kind is not None else None
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 3))):
            holder, key, place = self._place(tree, shape)
            if holder is None:
                return self._hostile()
            self._spoil(holder, key, place)
        return tree

    def _place(self, tree: Tree, shape: Shape | None) -> tuple[Any, Any, Shape | None]:
        """Somewhere in the tree: what holds it, its key there, and the shape of what belongs there."""
        holder, key, here, place = None, None, tree, shape
        while isinstance(here, dict | list) and here and (holder is None or self._chance.random() < 0.75):
            holder = here
            if isinstance(here, dict):
                key = self._chance.choice(list(here))
                below = (place.fields or {}).get(key, place.values) if place is not None else None
            else:
                key = self._chance.randrange(len(here))
                below = place.item if place is not None else None
            here, place = here[key], below
        return (None, None, None) if self._chance.random() < 0.005 else (holder, key, place)

    def _hostile(self) -> Tree:
        """A hostile value of its own: it may be spoilt further."""
        return copy.deepcopy(self._chance.choice(HOSTILE))

    def _spoil(self, holder: Any, key: Any, place: Shape | None) -> None:
        chance = self._chance
        chosen = chance.random()
        if chosen < 0.35:
            holder[key] = self._hostile()
        elif chosen < 0.6 and place is not None:
            here = holder[key]
            made = self._value(place, 0)
            holder[key] = {**here, **made} if isinstance(here, dict) and isinstance(made, dict) else made
        elif chosen < 0.7:
            del holder[key]
        elif isinstance(holder, dict):
            if chosen < 0.8:
                holder[chance.choice(KEYS)] = copy.deepcopy(holder[key])
            elif chosen < 0.9:
                holder[chance.choice(KEYS)] = self._hostile()
            else:
                holder[key] = [holder[key]]
        else:
            holder.extend(
                self._hostile() if chosen < 0.8 else copy.deepcopy(holder[key])
                for _ in range(chance.choice((1, 1, 3, 40)))
            )

    def _value(self, shape: Shape, depth: int) -> Tree:
        """Something that fits a shape, or nearly."""
        chance = self._chance
        if chance.random() < 0.1:
            return self._hostile()
        if shape.fields is not None:
            names = list(shape.fields)
            if depth > 6:
                return {}
            chosen = chance.sample(names, min(len(names), chance.choice((0, 1, 2, 3, 6))))
            return {name: self._value(shape.fields[name], depth + 1) for name in chosen}
        if shape.item is not None:
            return [self._value(shape.item, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)))]
        if shape.values is not None:
            return {chance.choice(("a", "cpu", "memory", *KEYS)): self._value(shape.values, depth + 1)}
        if shape.is_quantity:
            return chance.choice(("1", "100m", "1Gi", "-1", "1e3", "1.5", "0", "1e99", 7, 0.1))
        match shape.go_type:
            case "int32" | "int64":
                return chance.choice((0, 1, -1, 80, 65536, 2**31 - 1, 2**31, 2**63 - 1))
            case "bool":
                return chance.random() < 0.5
            case "v1.Time":
                return chance.choice(("2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"))
            case "[]uint8":
                return chance.choice(("", "AAAA", "AA", "!", "dg=="))
        return chance.choice(("fuzz", "main", "v", "Always", "Never", "a", "IfNotPresent", *self._texts()))

    def _texts(self) -> list[str]:
        return [one for one in self._chance.sample(HOSTILE, 8) if isinstance(one, str)]

    def _partial(self, tree: Tree) -> Tree:
        """Part of a tree, as a patch is."""
        if not isinstance(tree, dict):
            return tree
        return {
            name: self._partial(value) if self._chance.random() < 0.5 else value
            for name, value in tree.items()
            if name in ("kind", "apiVersion", "metadata") or self._chance.random() < 0.8
        }

    def _operations(self, tree: Tree) -> Tree:
        """The operations of a JSON patch, most of them at paths that exist."""
        chance = self._chance
        made: list[Tree] = []
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            path = self._pointer(tree)
            verb = chance.choice(("add", "replace", "remove", "copy", "move", "test", "nope", ""))
            one: Tree = {"op": verb, "path": path, "value": self._hostile(), "from": self._pointer(tree)}
            if chance.random() < 0.2:
                one.pop(chance.choice(list(one)))
            if chance.random() < 0.05:
                one[chance.choice(("op", "path", "from"))] = self._hostile()
            made.append(one)
        return made if chance.random() < 0.95 else self._hostile()

    def _pointer(self, tree: Tree) -> str:
        parts: list[str] = []
        while isinstance(tree, dict | list) and tree and self._chance.random() < 0.8:
            key = self._chance.choice(list(tree) if isinstance(tree, dict) else list(range(len(tree))))
            parts.append(str(key).replace("~", "~0").replace("/", "~1"))
            tree = tree[key]
        if self._chance.random() < 0.2:
            parts.append(self._chance.choice(("-", "-1", "999999999999", "~", "~2", "", "é", "00", "²")))
        return "".join(f"/{part}" for part in parts)

    def _spoiled_bytes(self, body: bytes) -> bytes:
        chance = self._chance
        if chance.random() < 0.8 or not body:
            return body
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(6):
                case 0:
                    body = body[:at]
                case 1:
                    body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
                case 2:
                    body = (
                        body[:at]
                        + chance.choice((b"\x00", b"\xff", b"\xed\xa0\x80", b"[" * 3000, b"{", b'"'))
                        + body[at:]
                    )
                case 3:
                    end = min(len(body), at + chance.randrange(1, 40))
                    body = body[:end] + body[at:end] + body[end:]
                case 4:
                    body = body[:at] + body[at + chance.randrange(1, 20) :]
                case 5:
                    body += chance.choice((b" x", b"\n---\n{}", b"null", b"\x00", b"}"))
        return body


def _json(tree: Tree) -> bytes:
    return json.dumps(tree).encode()
