"""/debug/pprof and /debug/flags/v: what the process does and holds, where --profiling is given.

The paths are upstream's; what they answer is of Python: folded stacks instead of Go's profile format.
"""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Final

from keelback.apimachinery import errors
from keelback.apiserver.context import RequestContext
from keelback.apiserver.routes import Route
from keelback.apiserver.server import APIServer
from keelback.component import logs
from keelback.component.http import AnyResponse, Response, text_response

_DEFAULT_SECONDS: Final = 30.0
_MOST_SECONDS: Final = 300.0
_SAMPLE_SECONDS: Final = 0.01
_SHOWN_TYPES: Final = 60
_PAGES: Final = {
    "cmdline": "the command line, its arguments separated by NUL",
    "goroutine": "the stacks of all tasks of the event loop and of all threads",
    "heap": "how many objects of which type the garbage collector knows",
    "profile": "what threads did for ?seconds=30, a hundred looks a second: folded stacks, as flame graphs are made of",
}


def add(server: APIServer) -> None:
    """Route them. Who may read them is a matter of authorization."""
    server.routes.add_path("/debug/pprof", _index)
    server.routes.add_path("/debug/pprof/cmdline", _text(lambda: "\0".join(sys.argv)))
    server.routes.add_path("/debug/pprof/goroutine", _text(stacks))
    server.routes.add_path("/debug/pprof/heap", _text(objects))
    server.routes.add_path("/debug/pprof/profile", _profile)
    server.routes.add_path("/debug/flags/v", _set_verbosity)


def stacks() -> str:
    """Where every task and every thread stands."""
    out = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        out.write(f"task {task.get_name()}\n")
        task.print_stack(limit=30, file=out)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for identifier, frame in sys._current_frames().items():
        out.write(f"\nthread {names.get(identifier, identifier)}\n{folded(frame).replace(';', chr(10))}\n")
    return out.getvalue()


def objects() -> str:
    """The commonest types of objects, with their numbers."""
    found = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return "".join(f"{count:10d} {name}\n" for name, count in found.most_common(_SHOWN_TYPES))


def folded(frame: FrameType | None) -> str:
    """A stack on one line, its outermost call first."""
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        names.append(f"{code.co_qualname} ({code.co_filename.rsplit('keelback/', 1)[-1]}:{frame.f_lineno})")
        frame = frame.f_back
    return ";".join(reversed(names))


def sampled(seconds: float, wait: Callable[[float], object]) -> str:
    """What all threads but this one do in that time, looked at again and again; `wait` lets time pass."""
    found: Counter[str] = Counter()
    own = threading.get_ident()
    for _ in range(max(1, round(seconds / _SAMPLE_SECONDS))):
        for identifier, frame in sys._current_frames().items():
            if identifier != own:
                found[folded(frame)] += 1
        wait(_SAMPLE_SECONDS)
    return "".join(f"{stack} {count}\n" for stack, count in found.most_common())


def _text(make: Callable[[], str]) -> Route:
    async def answer(context: RequestContext) -> AnyResponse:
        return text_response(make())

    return answer


async def _index(context: RequestContext) -> AnyResponse:
    return text_response("/debug/pprof/\n\n" + "".join(f"{name:<10} {text}\n" for name, text in _PAGES.items()))


async def _profile(context: RequestContext) -> AnyResponse:
    try:
        seconds = float(context.query.get("seconds", _DEFAULT_SECONDS))
    except ValueError as error:
        raise errors.BadRequest(f"seconds: {error}") from error
    if not 0 < seconds <= _MOST_SECONDS:
        raise errors.BadRequest(f"seconds must be more than 0, and at most {_MOST_SECONDS:.0f}")
    return text_response(await asyncio.to_thread(sampled, seconds, threading.Event().wait))


async def _set_verbosity(context: RequestContext) -> AnyResponse:
    if context.request.method != "PUT":
        return text_response("unsupported http method\n", 406)
    text = context.request.body.decode(errors="replace").strip()
    if not text.isascii() or not text.isdigit():
        return Response(400, {"content-type": "text/plain; charset=utf-8"}, f"{text!r} is no number\n".encode())
    logs.set_verbosity(int(text))
    return text_response(f"successfully set klog.logging.verbosity to {text}")
