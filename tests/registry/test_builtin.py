from datetime import UTC, datetime

import msgspec
import pytest

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace
from keelback.registry.builtin import strategies

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
ALL = [pytest.param(one, id=f"{one.kind.__kind__.plural}.{one.kind.__kind__.api_version}") for one in strategies()]


@pytest.mark.parametrize("strategy", ALL)
def test_an_empty_object_of_each_kind_goes_through_every_step(strategy):
    empty = strategy.kind()
    assert list(strategy.warnings(empty, None)) is not None
    made = strategy.default(strategy.prepare_for_create(empty))
    list(strategy.validate(made))
    changed = strategy.default(strategy.prepare_for_update(made, made), made)
    list(strategy.validate_update(changed, made))
    list(strategy.validate_status_update(strategy.prepare_for_status_update(made, made), made))
    strategy.prepare_for_deletion(made)
    assert strategy.graceful_deletion_seconds(made, None) >= 0
    strategy.is_held(made)


@pytest.mark.parametrize("strategy", ALL)
def test_defaulting_twice_changes_nothing_more(strategy):
    once = strategy.default(strategy.kind())
    assert strategy.default(once, once) == once


@pytest.mark.parametrize("strategy", ALL)
def test_the_columns_of_an_empty_object_can_be_computed(strategy):
    empty = strategy.kind()
    for column in strategy.columns:
        value = column.value(empty, NOW)
        assert isinstance(value, bool | int | str), column.name


@pytest.mark.parametrize("strategy", ALL)
def test_fields_are_those_that_are_named(strategy):
    narrow = msgspec.json.Decoder(strategy.field_type).decode(strategy.encode(strategy.kind()))
    assert set(strategy.fields(narrow)) == set(strategy.field_names)
    assert all(isinstance(value, str) for value in strategy.fields(narrow).values())


@pytest.mark.parametrize("strategy", ALL)
def test_what_the_store_holds_comes_back(strategy):
    named = replace(strategy.kind(), metadata=replace(strategy.kind().metadata, name="a"))
    stored = strategy.to_storage(codecs.encode_stored(named))
    assert codecs.decode(strategy.storage_kind or strategy.kind, stored).metadata.name == "a"
    assert strategy.decode(strategy.from_storage(stored)).metadata.name == "a"


@pytest.mark.parametrize("strategy", ALL)
def test_a_new_object_may_be_defaulted_again_after_admission(strategy):
    once = strategy.default(strategy.kind())
    assert strategy.default(once) == once
    prepared = strategy.prepare_for_create(once)
    assert strategy.prepare_for_create(prepared) == prepared
