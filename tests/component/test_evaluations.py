"""Evaluations that end soon are done at once; those that do not, go on in a thread, one at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from keelback.cel.environment import Budget, Environment, Patience
from keelback.cel.errors import CostLimitExceeded, TakesLongError
from keelback.cel.types import DYN
from keelback.cel.values import Value
from keelback.component.evaluations import Evaluations
from keelback.component.metrics import Registry

NESTED = Environment({"self": DYN}).compile("self.all(x, self.all(y, self.all(z, x >= 0)))")


def evaluate(numbers: list[int], patience: Patience | None) -> Value:
    return NESTED.evaluate({"self": numbers}, Budget(patience=patience))


def test_patience_ends_with_the_cost_it_was_given() -> None:
    patience = Patience(1000)
    assert evaluate([1], patience) is True
    with pytest.raises(TakesLongError):
        evaluate(list(range(20)), patience)
    assert evaluate(list(range(20)), None) is True


def test_what_costs_too_much_fails_whatever_the_patience() -> None:
    with pytest.raises(CostLimitExceeded):
        evaluate(list(range(1000)), Patience())


def test_impatience_ends_what_has_begun_and_what_begins() -> None:
    patience = Patience()
    seen: list[int] = []

    class Row(list[int]):
        def __iter__(self) -> object:  # type: ignore[override]
            seen.append(1)
            if len(seen) == 3:
                patience.end()
            return super().__iter__()

    with pytest.raises(TakesLongError):
        evaluate(Row(range(10)), patience)
    assert len(seen) == 3
    with pytest.raises(TakesLongError):
        evaluate([1], patience)


def test_what_is_small_is_done_on_the_loop_and_what_takes_long_in_a_thread() -> None:
    async def main() -> None:
        metrics = Registry()
        evaluations = Evaluations(metrics)
        places: list[bool] = []

        def noted(numbers: list[int]) -> object:
            def run(patience: Patience) -> Value:
                places.append(threading.current_thread() is threading.main_thread())
                return evaluate(numbers, patience)

            return run

        assert await evaluations.run(noted([1]), 100) is True  # type: ignore[arg-type]
        assert places == [True]
        assert await evaluations.run(noted(list(range(30))), 100_000) is True  # type: ignore[arg-type]
        assert places == [True, True, False]
        places.clear()
        # What stands for no work of its own keeps nobody waiting.
        assert await evaluations.run(noted(list(range(30))), 100_000, idle_cost=1_000_000) is True  # type: ignore[arg-type]
        assert places == [True]
        assert b"apiserver_cel_evaluation_duration_seconds_count 3" in metrics.exposition()

    asyncio.run(main())


def test_who_goes_away_ends_the_evaluation_and_the_next_has_its_turn() -> None:
    async def main() -> None:
        evaluations = Evaluations()
        begun = threading.Event()

        def endless(patience: Patience) -> Value:
            while True:
                evaluate(list(range(30)), patience)
                begun.set()

        task = asyncio.create_task(evaluations.run(endless, 1000))
        await asyncio.to_thread(begun.wait)
        begun.clear()
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await evaluations.run(lambda patience: evaluate(list(range(30)), patience), 100_000) is True

    asyncio.run(main())


def test_how_long_compiling_takes_is_told() -> None:
    metrics = Registry()
    compiling = Evaluations(metrics).compiling(int)
    assert compiling("7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        compiling("x")
    assert "apiserver_cel_compilation_duration_seconds_count 2\n" in metrics.exposition().decode()
