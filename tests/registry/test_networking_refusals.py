"""What is wrong with objects of networking.k8s.io, in upstream's words and order."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.plural: one for one in strategies() if one.kind.__kind__.group == "networking.k8s.io"}


def made(resource: str, tree: dict[str, Any]) -> Any:
    strategy = STRATEGIES[resource]
    return strategy.default(codecs.convert(strategy.kind, {"metadata": {"name": "x"}, **tree}))


def problems(resource: str, tree: dict[str, Any]) -> list[str]:
    return [f"{one.field}: {one.body}" for one in STRATEGIES[resource].validate(made(resource, tree))]


def changes(resource: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found = STRATEGIES[resource].validate_update(made(resource, new), made(resource, old))
    return [f"{one.field}: {one.body}" for one in found]


def path(text: str, kind: str = "Prefix") -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {"spec": {"rules": [{"http": {"paths": [{"path": text, "pathType": kind, "backend": backend}]}}]}}


BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
HERE = "spec.rules[0].http.paths[0]"
DNS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("tree", "wanted"),
    [
        ({"spec": {}}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
        (path("/a"), []),
        (path("/a/.."), [f"{HERE}.path: Invalid value: \"/a/..\": cannot end with '/..'"]),
        (
            path("a//b"),
            [
                f'{HERE}.path: Invalid value: "a//b": must be an absolute path',
                f"{HERE}.path: Invalid value: \"a//b\": must not contain '//'",
            ],
        ),
        (path("/a", ""), [f"{HERE}.pathType: Required value: pathType must be specified"]),
        (
            path("/a", "Other"),
            [
                f'{HERE}.pathType: Unsupported value: "Other": supported values: "Exact", "ImplementationSpecific", '
                '"Prefix"'
            ],
        ),
        (
            {"spec": {"defaultBackend": {"resource": {"kind": "", "name": "a/b"}}}},
            [
                "spec.defaultBackend.resource.kind: Required value: kind is required",
                "spec.defaultBackend.resource.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            {"spec": {"defaultBackend": BACKEND, "tls": [{"hosts": ["*.a.example.com", "A"], "secretName": "S"}]}},
            [
                f'spec.tls[0].hosts[1]: Invalid value: "A": {DNS}',
                f'spec.tls[0].secretName: Invalid value: "S": {DNS}',
            ],
        ),
        (
            {
                "metadata": {"name": "x", "annotations": {"kubernetes.io/ingress.class": "a"}},
                "spec": {"defaultBackend": BACKEND, "ingressClassName": "b"},
            },
            [
                'annotations.kubernetes.io/ingress.class: Invalid value: "a": '
                "must match `ingressClassName` when both are specified"
            ],
        ),
    ],
)
def test_ingresses(tree: dict[str, Any], wanted: list[str]) -> None:
    assert problems("ingresses", tree) == wanted


def test_an_old_class_annotation_does_not_stop_changes() -> None:
    tree = {
        "metadata": {"name": "x", "annotations": {"kubernetes.io/ingress.class": "a"}},
        "spec": {"defaultBackend": BACKEND, "ingressClassName": "b"},
    }
    assert changes("ingresses", tree, tree) == []


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"controller": "example.com/a"}, []),
        ({}, ["spec.controller: Required value"]),
        (
            {"controller": "a"},
            ['spec.controller: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")'],
        ),
        (
            {"controller": "example.com/a b"},
            [
                'spec.controller: Invalid value: "a b": Invalid path (regex used for validation is '
                "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
            ],
        ),
        (
            {"controller": "e.com/a", "parameters": {"kind": "K", "name": "n", "namespace": "d"}},
            ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        ),
        (
            {"controller": "e.com/a", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}},
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            {"controller": "e.com/a", "parameters": {"kind": "K", "name": "n", "scope": "All"}},
            ['spec.parameters.scope: Unsupported value: "All": supported values: "Cluster", "Namespace"'],
        ),
    ],
)
def test_ingress_classes(spec: dict[str, Any], wanted: list[str]) -> None:
    assert problems("ingressclasses", {"spec": spec}) == wanted


def ingress(**rule: Any) -> dict[str, Any]:
    return {"spec": {"podSelector": {}, "ingress": [rule]}}


@pytest.mark.parametrize(
    ("tree", "wanted"),
    [
        (ingress(ports=[{"port": 80, "endPort": 90}]), []),
        (
            ingress(ports=[{"port": 80, "endPort": 70}]),
            ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
        ),
        (
            ingress(ports=[{"port": 80, "endPort": 70000}]),
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            ingress(ports=[{"port": "web", "endPort": 90}]),
            ["spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric"],
        ),
        (
            ingress(ports=[{"protocol": "ICMP"}]),
            [
                'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
            ],
        ),
        (
            ingress(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.0/24", "10.1.0.0/28"]}}]}),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/24": '
                "must be a strict subset of `cidr`",
                'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "10.1.0.0/28": '
                "must be a strict subset of `cidr`",
            ],
        ),
        (
            ingress(**{"from": [{"ipBlock": {"cidr": "10.0.0.0/24"}, "podSelector": {}}, {}]}),
            [
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
                "spec.ingress[0].from[1]: Required value: must specify a peer",
            ],
        ),
        (
            {"spec": {"podSelector": {}, "policyTypes": ["All"]}},
            ['spec.policyTypes[0]: Unsupported value: "All": supported values: "Ingress", "Egress"'],
        ),
    ],
)
def test_network_policies(tree: dict[str, Any], wanted: list[str]) -> None:
    assert problems("networkpolicies", tree) == wanted


def test_ip_addresses() -> None:
    assert problems("ipaddresses", {"spec": {}}) == ["spec.parentRef: Required value"]
    assert problems("ipaddresses", {"spec": {"parentRef": {"group": "a_b", "name": "n"}}}) == [
        f'spec.parentRef.group: Invalid value: "a_b": {DNS}',
        "spec.parentRef.resource: Required value",
    ]
    held = {"spec": {"parentRef": {"resource": "services", "name": "n"}}}
    other = {"spec": {"parentRef": {"resource": "services", "name": "m"}}}
    assert [one.partition(":")[0] for one in changes("ipaddresses", held, other)] == ["spec.parentRef"]


def cidrs(*ranges: str) -> dict[str, Any]:
    return {"spec": {"cidrs": list(ranges)}}


def test_service_cidrs() -> None:
    assert problems("servicecidrs", cidrs()) == ["spec.cidrs: Required value: at least one CIDR required"]
    assert problems("servicecidrs", cidrs("10.0.0.0/24", "10.1.0.0/24")) == [
        'spec.cidrs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one IP for each IP family, '
        "i.e 192.168.0.0/24 and 2001:db8::/64"
    ]
    first = cidrs("10.0.0.0/24")
    assert changes("servicecidrs", first, cidrs("10.0.0.0/24", "fd00::/112")) == []
    assert changes("servicecidrs", first, cidrs("10.0.1.0/24")) == [
        'spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable'
    ]
    assert changes("servicecidrs", cidrs("10.0.0.0/24", "fd00::/112"), first) == [
        'spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable'
    ]


ZEROES = "must not have leading 0s in IP or prefix length"
AMBIGUOUS = "must not have bits set beyond the prefix length"


def test_addresses_are_strict_except_those_an_object_had_before() -> None:
    """KEP-4858: what could be read in two ways is refused, but may stay where it is."""
    old = ingress(**{"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]})
    path = "spec.ingress[0].from[0].ipBlock.cidr"
    assert problems("networkpolicies", old) == [f'{path}: Invalid value: "010.0.0.0/8": {ZEROES}']
    assert changes("networkpolicies", old, old) == []
    other = ingress(**{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]})
    assert changes("networkpolicies", old, other) == [f'{path}: Invalid value: "10.0.0.1/8": {AMBIGUOUS}']


def test_an_address_is_named_by_its_canonical_form() -> None:
    strategy = STRATEGIES["ipaddresses"]
    assert strategy.validate_name("10.0.0.1", is_prefix=False) == ()
    assert strategy.validate_name("fd00::0", is_prefix=False) == ('must be in canonical form ("fd00::")',)
    assert problems("servicecidrs", cidrs("fd00:0::/64")) == [
        'spec.cidrs[0]: Invalid value: "fd00:0::/64": must be in canonical form ("fd00::/64")'
    ]
