"""A bounded run of `python -m keelback.testing.fuzz_api`, from fixed seeds: the long one is for the command."""

from __future__ import annotations

import asyncio
import random

import pytest

from keelback.api.builtin import STORED
from keelback.component.http import Response
from keelback.testing.api import api_server
from keelback.testing.fuzz_api import Outcome, run_round
from keelback.testing.fuzzing import RequestMaker


@pytest.mark.parametrize("seed", [1, 2])
def test_no_request_hits_a_defect(seed: int) -> None:
    outcome = Outcome()
    asyncio.run(run_round(seed, 1000, outcome))
    assert "\n".join(map(str, outcome.findings)) == ""
    assert outcome.requests == 1000
    # Were they all refused at the door, nothing would have been tried.
    assert outcome.statuses[200] > 50
    assert outcome.statuses[422] > 50


def test_the_same_seed_makes_the_same_requests() -> None:
    first, second = (RequestMaker(random.Random(7)) for _ in range(2))
    assert [first.next() for _ in range(200)] == [second.next() for _ in range(200)]


def test_what_is_spoilt_was_valid_before() -> None:
    async def main() -> dict[str, int]:
        async with api_server() as api:
            maker = RequestMaker(random.Random(1))
            refused = {}
            for kind in STORED:
                response = await api.handle(maker.valid(kind, "fuzz"))
                assert isinstance(response, Response)
                # Two kinds are other versions of ones already made.
                if response.status not in (201, 409):
                    refused[kind.__kind__.kind] = response.status
            return refused

    assert asyncio.run(main()) == {}
