"""A bounded run of `python -m keelback.testing.fuzz_api`, from fixed seeds: the long one is for the command."""

from __future__ import annotations

import asyncio
import random

import pytest

from keelback.api.builtin import STORED
from keelback.api.core_v1 import Pod
from keelback.component.http import Request, Response, StreamingResponse, Writer
from keelback.testing import fuzzing_protobuf, protobuf_bodies
from keelback.testing.api import api_server
from keelback.testing.fuzz_api import Finding, Outcome, Watches, run_round
from keelback.testing.fuzzing import RequestMaker
from keelback.testing.fuzzing_samples import sample
from keelback.testing.fuzzing_wire import WireMaker


@pytest.mark.parametrize("seed", [1, 2])
def test_no_request_hits_a_defect(seed: int) -> None:
    outcome = Outcome()
    asyncio.run(run_round(seed, 1000, outcome))
    assert "\n".join(map(str, outcome.findings)) == ""
    assert 1000 < outcome.requests <= 1100
    # Were they all refused at the door, nothing would have been tried.
    assert outcome.statuses[200] > 50
    assert outcome.statuses[422] > 50
    assert outcome.events > 10


def test_the_same_seed_makes_the_same_requests() -> None:
    first, second = (RequestMaker(random.Random(7)) for _ in range(2))
    assert [first.next() for _ in range(200)] == [second.next() for _ in range(200)]
    one, other = (WireMaker(random.Random(7), "t") for _ in range(2))
    assert [one.pieces(one.written(first.next())) for _ in range(200)] == [
        other.pieces(other.written(second.next())) for _ in range(200)
    ]


def test_what_is_wrong_with_a_protobuf_body_is_in_its_structure() -> None:
    chance = random.Random(3)
    body = protobuf_bodies.encode(sample(Pod, "fuzz"))
    spoilt = {fuzzing_protobuf.spoiled(body, chance) for _ in range(200)}
    assert all(one.startswith(b"k8s\x00") for one in spoilt)
    assert len(spoilt - {body}) > 100
    assert fuzzing_protobuf.spoiled(b"{}", chance) == b"{}"


def test_the_rules_and_policies_that_requests_run_into_are_there() -> None:
    async def main() -> list[int]:
        async with api_server() as api:
            return [(await api.handle(request)).status for request in RequestMaker(random.Random(1)).armed()]  # type: ignore[union-attr]

    assert set(asyncio.run(main())) == {201}


def test_a_stream_of_what_is_no_event_is_found() -> None:
    async def main() -> Outcome:
        async def serve(writer: Writer) -> None:
            writer.write(b'{"type":"NEWS","object":{}}\n')
            await writer.wait_closed()

        outcome = Outcome()
        watches = Watches(outcome)
        await watches.add(StreamingResponse(200, {}, serve), Finding(1, 2, "", Request("GET", "/")))
        await watches.end()
        return outcome

    (found,) = asyncio.run(main()).findings
    assert (found.seed, found.number) == (1, 2)
    assert "no event" in found.problem


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
