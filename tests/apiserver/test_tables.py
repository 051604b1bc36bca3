"""Tables as upstream's printers declare them: what each column is and what it says of itself."""

from __future__ import annotations

from keelback.apiserver import tables
from keelback.registry.builtin import strategies


def test_every_column_of_a_built_in_kind_says_what_it_is() -> None:
    silent = set()
    for strategy in strategies():
        kind = strategy.kind.__kind__
        names = {one.name for one in strategy.columns}
        assert set(tables._described().get(f"{kind.group}/{kind.plural}".lstrip("/"), {})) <= names, kind
        for one in tables.definitions(strategy.columns, kind):
            if not one["description"]:
                silent.add((kind.plural, one["name"]))
    # Upstream looks this one's text up where there is none.
    assert silent <= {("runtimeclasses", "Handler"), ("apiservices", "Service"), ("apiservices", "Available")}


def test_a_column_may_be_declared_as_text_and_hold_numbers() -> None:
    columns = {(one.kind.__kind__.plural): one for one in strategies()}
    deployments = columns["deployments"]
    declared = {one["name"]: one for one in tables.definitions(deployments.columns, deployments.kind.__kind__)}
    assert (declared["Up-to-date"]["type"], declared["Available"]["type"]) == ("string", "string")
    attachments = columns["volumeattachments"]
    declared = {one["name"]: one for one in tables.definitions(attachments.columns, attachments.kind.__kind__)}
    assert declared["Attacher"]["format"] == "name"
