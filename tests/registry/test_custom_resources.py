"""What a definition makes of the objects it defines, apart from serving them."""

from __future__ import annotations

from typing import Any

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.apimachinery import codecs
from keelback.registry.custom_resources import CustomResourceStrategy, strategy_of
from keelback.registry.customresourcedefinitions import CustomResourceDefinitionStrategy

TEXT = {"type": "string"}


def definition(**versions: Any) -> CustomResourceDefinition:
    """Versions by their schemas; the first is stored."""
    given = [
        {"name": name, "served": True, "storage": not at, "schema": {"openAPIV3Schema": schema}}
        for at, (name, schema) in enumerate(versions.items())
    ]
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": given}
    made = codecs.convert(CustomResourceDefinition, {"metadata": {"name": "widgets.example.com"}, "spec": spec})
    return CustomResourceDefinitionStrategy().default(made)


def strategies(**versions: Any) -> list[CustomResourceStrategy]:
    made = definition(**versions)
    return [strategy_of(made, one) for one in made.spec.versions]


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def tree(version: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": f"example.com/{version}", "kind": "Widget", "metadata": {"name": "abc"}, **fields}


def complaints(strategy: CustomResourceStrategy, given: dict[str, Any]) -> list[str]:
    return [f"{one.field}: {one.body}" for one in strategy.validate(strategy.from_tree(given))]


def test_the_root_may_restrict_names() -> None:
    rule = {"rule": "self != 'abc'", "message": "no abc"}
    name = {**TEXT, "maxLength": 2, "x-kubernetes-validations": [rule]}
    (strategy,) = strategies(v1=of(metadata=of(name=name, generateName={**TEXT, "minLength": 3})))
    assert complaints(strategy, tree("v1")) == [
        "metadata.name: Too long: may not be more than 2 bytes",
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct "
        "the existing errors to complete validation",
    ]
    (strategy,) = strategies(v1=of(metadata=of(name={**TEXT, "x-kubernetes-validations": [rule]})))
    assert complaints(strategy, tree("v1")) == ['metadata.name: Invalid value: "abc": no abc']


def test_an_object_has_the_defaults_of_the_version_it_is_stored_in() -> None:
    old, new = strategies(v1=of(a={**TEXT, "default": "A"}), v2=of(a=TEXT, b={**TEXT, "default": "B"}))
    stored = old.encode(old.kind(metadata=old.from_tree(tree("v1")).metadata))
    assert b'"a"' not in stored
    assert old.decode(old.from_storage(stored)).content == {"a": "A"}
    assert new.decode(new.from_storage(stored)).content == {"a": "A"}


def test_what_another_version_stores_has_no_field_that_only_this_one_knows() -> None:
    _, new = strategies(v1=of(a=TEXT), v2=of(a=TEXT, b=TEXT))
    kept = new.to_storage(new.encode(new.from_tree(tree("v2", a="1", b="2"))))
    assert kept.startswith(b'{"kind":"Widget","apiVersion":"example.com/v1",')
    assert b'"b"' not in kept
