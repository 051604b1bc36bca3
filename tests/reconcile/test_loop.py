from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import errors
from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response, StreamingResponse
from keelback.concurrency.clock import SystemClock
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.loop import Controller
from keelback.reconcile.result import DONE, Result, TerminalError, again_after


class Scripted:
    """A reconciler that does what the test has written down, one entry a call, and then nothing more."""

    name: ClassVar[str] = "scripted-controller"
    kind: ClassVar[type[ConfigMap]] = ConfigMap
    owns: ClassVar[tuple[type[ConfigMap], ...]] = ()

    def __init__(self, *script: Callable[[], Result]) -> None:
        self.script = list(script)
        self.calls: list[str] = []
        self.finished = asyncio.Event()
        self.working = 0

    async def reconcile(self, obj: ConfigMap) -> Result:
        self.working += 1
        assert self.working == 1, "one object has two workers"
        await asyncio.sleep(0)
        self.working -= 1
        self.calls.append(obj.metadata.name)
        if not self.script:
            return DONE
        act = self.script.pop(0)
        if not self.script:
            self.finished.set()
        return act()


def fail(error: Exception) -> Callable[[], Result]:
    def act() -> Result:
        raise error

    return act


async def serve(request: Request) -> Response | StreamingResponse:
    if "watch" in request.query:

        async def wait(writer: Any) -> None:
            await writer.wait_closed()

        return StreamingResponse(200, {}, wait)
    item = {"metadata": {"name": "one", "namespace": "default", "uid": "u", "resourceVersion": "1"}}
    return Response(200, {}, msgspec.json.encode({"metadata": {"resourceVersion": "1"}, "items": [item]}))


def play(*script: Callable[[], Result], then: Callable[[Scripted, Controller], Awaitable[None]]) -> None:
    async def run() -> None:
        chance = random.Random(1)
        shared = SharedCaches(Client(InProcessTransport(serve)), SystemClock(), chance)
        reconciler = Scripted(*script)
        controller = Controller(reconciler, shared, SystemClock(), chance)
        tasks = [asyncio.get_running_loop().create_task(one) for one in (shared.run(), controller.run())]
        try:
            async with asyncio.timeout(5):
                await reconciler.finished.wait()
                await then(reconciler, controller)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_failure_is_tried_again_and_success_forgets_it() -> None:
    async def then(reconciler: Scripted, controller: Controller) -> None:
        await settle()
        assert len(reconciler.calls) == 4
        assert controller.queue.failures(("default", "one")) == 0

    conflict = errors.Conflict.of(ConfigMap.__kind__, "one")
    play(fail(conflict), fail(OSError("away")), fail(ValueError("a defect")), lambda: DONE, then=then)


def test_a_terminal_error_waits_for_the_object_to_change() -> None:
    async def then(reconciler: Scripted, controller: Controller) -> None:
        await settle()
        assert len(reconciler.calls) == 1
        assert controller.queue.failures(("default", "one")) == 0
        controller.queue.add(("default", "one"))
        await settle()
        assert len(reconciler.calls) == 2

    play(fail(TerminalError("never")), then=then)


def test_a_result_may_ask_to_look_again() -> None:
    async def then(reconciler: Scripted, controller: Controller) -> None:
        assert len(reconciler.calls) == 2

    play(lambda: again_after(0.001), lambda: DONE, then=then)


def test_an_object_that_is_gone_is_not_reconciled() -> None:
    async def then(reconciler: Scripted, controller: Controller) -> None:
        controller.queue.add(("default", "unknown"))
        await settle()
        assert reconciler.calls == ["one"]

    play(lambda: DONE, then=then)
