"""A whole cluster in a test's own process: store, API server, controllers, scheduler and simulated nodes, on one clock.

The clock is virtual unless `real_time` is said: it moves only while a call here waits for it, and then at once, and a
call returns when the cluster has done all it can do at that instant. The same seed gives the same history.
"""

from __future__ import annotations

import functools
import gc
import json
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

from keelback.apimachinery import kubernetes_versions
from keelback.bootstrap import kubeconfigs
from keelback.bootstrap.kubeconfigs import ClusterAddress
from keelback.client import kubeconfig as kubeconfig_files
from keelback.concurrency.clock import Clock, SystemClock
from keelback.simulation import stage_files
from keelback.simulation import stages as kwok
from keelback.simulation.scripts import ExecFunction, LogFunction, PortFunction
from keelback.testing import cluster_report, webhook_functions
from keelback.testing.cluster_objects import Check, Objects, Source, Tree, Trees, documents, satisfied
from keelback.testing.cluster_parts import TEST_CLIENT, TOKEN, Options, Parts
from keelback.testing.controller_functions import ControllerFunction
from keelback.testing.faults import Asked, CrashPoint, Fault
from keelback.testing.recording import Recording
from keelback.testing.virtual_time import START, LoopClock, LoopThread
from keelback.testing.webhook_functions import (
    LocalWebhooks,
    MutateFunction,
    ValidateFunction,
    WebhookFunction,
    name_of,
)

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 300.0
_DEFAULT_NAMESPACE: Final = "default"
_SETTLE_SECONDS: Final = 60.0


@functools.cache
def _settle_imports() -> None:
    """What is imported lives as long as the process: the garbage collector need not look through it for each cluster.

    Each time it did, a start took 60 to 140 ms longer, and that was every second one.
    """
    gc.freeze()


class NotReached(AssertionError):
    """What was waited for did not come; the text has the object's conditions and events, and the cluster's."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a cluster held at an instant. It may be restored into any number of clusters, one after another."""

    at: datetime
    state: Mapping[str, bytes]


class Cluster:
    """Use it as a context manager, or take pytest's fixture `cluster`. Names are as kubectl takes them.

    `nodes` is how many, or which (`keelback.simulation.fleets.SimulatedNode`); `controllers=False` leaves an API server
    alone; `kubernetes_version` is the minor version whose API is served; `heartbeat_seconds` is how often nodes report:
    weeks pass faster when they do so more rarely.
    """

    def __init__(
        self, options: Options | None = None, *, kubernetes_version: str = "", stages: Source = "", **changes: Any
    ) -> None:
        """The cluster is made, not started; `stages` are KWOK's, as `apply` takes them.

        Raises ValueError for a version of Kubernetes that there is not, and for a Stage that cannot be carried out.
        """
        if kubernetes_version:
            changes["kubernetes_version"] = kubernetes_versions.parse(kubernetes_version)
        if stages:
            changes["stages"] = tuple(stage_files.read(tree) for tree in documents(stages))
        self.options = replace(options or Options(), **changes)
        if self.options.real_time and self.options.speed:
            raise ValueError("real time has the machine's speed: speed is of virtual time")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._thread: LoopThread | None = None
        self._webhooks: LocalWebhooks = {}
        self._controllers: dict[str, tuple[str, ControllerFunction]] = {}

    # Its life.

    def start(self, snapshot: Snapshot | None = None) -> Self:
        """Start it, empty or as it was; nodes are ready when this returns."""
        _settle_imports()
        self._thread = LoopThread(is_real=self.options.real_time, speed=self.options.speed)
        began = START if snapshot is None else snapshot.at
        self.clock: Clock = SystemClock() if self.options.real_time else LoopClock(self._thread.loop, began)
        state = None if snapshot is None else snapshot.state
        self._parts = Parts(self.options, self.clock, state, self._webhooks)
        try:
            self._run(self._parts.start)
            self._objects = Objects(self._parts.administrator())
            if self.options.controllers:
                self._run(self._until_ready)
            for name, (resource, function) in self._controllers.items():
                self._begin(name, resource, function)
        except BaseException:
            self._thread.close()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """End it; nothing is left behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.run(self._parts.close)
            thread.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._thread is not None

    def snapshot(self) -> Snapshot:
        """What the cluster holds now, its time included."""
        return Snapshot(self.clock.now(), self._run(self._parts.state))

    def restore(self, snapshot: Snapshot) -> None:
        """Be as the snapshot was, whatever has happened since. Ports of kubeconfigs given out before are closed."""
        self.stop()
        self.start(snapshot)

    # Time.

    @property
    def now(self) -> datetime:
        """The cluster's time."""
        return self.clock.now()

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let time pass, and everything happen that then happens. In real time this takes as long as it says."""
        length = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days).total_seconds()
        self._run(lambda: self.clock.sleep(length))

    def step_clock(self, seconds: float) -> None:
        """Set the clock that everybody reads forward, or back: what waits goes on, what compares times is surprised.

        Raises ValueError in real time.
        """
        clock = self.clock
        if not isinstance(clock, LoopClock):
            raise ValueError("the machine's clock is not the test's to set")
        self._run_now(lambda: clock.step(seconds))

    def skew_clock(self, component: str, seconds: float = 0.0, *, drift: float = 0.0) -> None:
        """Let one component's clock be so far ahead of the cluster's (behind, if negative), and gain `drift` seconds in
        each second from now on. Without either it is right again. `kubelet/NODE` has a clock of its own on any cluster.

        Raises NoSuchComponent, and ValueError for a drift that would let it stand still.
        """
        clock = self._parts.clock_of(component)
        self._run_now(lambda: clock.set(seconds, 1.0 + drift))

    # Objects.

    def apply(self, source: Source, *, namespace: str = _DEFAULT_NAMESPACE) -> Trees:
        """Apply a file, a folder, YAML text or a tree, as `kubectl apply --server-side` does; the objects as stored.

        KWOK's Stages are not stored, unless their definition is: simulated nodes and their pods go through them from
        now on. Raises StatusError as the API server answers, OSError, and ValueError for what is no object, or no Stage
        that can be carried out.
        """
        found = documents(source)

        are_objects = self._parts.stages_are_objects

        def is_given(tree: Tree) -> bool:
            return stage_files.is_stage(tree) and not are_objects

        stages = tuple(stage_files.read(tree) for tree in found if is_given(tree))
        if stages:
            self.options = replace(self.options, stages=kwok.merged(self.options.stages, stages))
            self._run(lambda: self._parts.use_stages(stages))
        return [
            tree if is_given(tree) else self._run(lambda tree=tree: self._objects.apply(tree, namespace, TEST_CLIENT))  # type: ignore[misc]
            for tree in found
        ]

    def get(self, target: str, *, namespace: str = _DEFAULT_NAMESPACE) -> Tree:
        """The object that "deployment/web" names. Raises NotFound."""
        return self._run(lambda: self._objects.get(target, namespace))

    def list(
        self,
        kind: str,
        *,
        namespace: str = _DEFAULT_NAMESPACE,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Trees:
        """The objects of a kind; of all namespaces where `namespace` is empty."""
        return self._run(lambda: self._objects.list(kind, namespace, label_selector, field_selector))

    def changes(
        self,
        kind: str,
        since: str,
        *,
        namespace: str = _DEFAULT_NAMESPACE,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Trees:
        """What has happened to the objects of a kind after a resourceVersion, as a watch tells it: trees of `type` and
        `object`. A second of the cluster's time passes. Raises Expired where that is too long ago."""
        return self._run(lambda: self._objects.changes(kind, since, namespace, label_selector, field_selector))

    def patch(
        self, target: str, change: Mapping[str, Any], *, namespace: str = _DEFAULT_NAMESPACE, subresource: str = ""
    ) -> Tree:
        """The object after a merge patch of it, or of its `status` or `scale`. Raises StatusError."""
        return self._run(lambda: self._objects.patch(target, change, namespace, subresource))

    def delete(
        self, target: str, *, namespace: str = _DEFAULT_NAMESPACE, propagation_policy: str = "Background"
    ) -> None:
        """Ask for its deletion; `wait(target, "deleted")` sees it gone. Raises NotFound."""
        self._run(lambda: self._objects.delete(target, namespace, propagation_policy))

    def request(self, method: str, path: str, *, query: str = "", body: Any = None) -> Tree:
        """Any request of the API whose answer is JSON. Raises StatusError."""
        return self._run(lambda: self._objects.request(method, path, query, body))

    def wait(
        self,
        target: str,
        until: str | Check,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        namespace: str = _DEFAULT_NAMESPACE,
    ) -> Tree:
        """Let time pass until the object has the condition ("Available", "Ready=False"), the field's value
        ("status.phase=Running"), is "deleted" or "exists", or until the function says so of its tree.

        The object as it is then. Raises NotReached after `timeout` seconds of the cluster's time.
        """
        check = until if callable(until) else None if until == "deleted" else satisfied(until)
        try:
            return self._run(lambda: self._objects.wait(target, check, namespace, timeout))
        except TimeoutError:
            known = self._run(lambda: cluster_report.about(self._objects, target, namespace))
            what = getattr(until, "__name__", str(until))
            raise NotReached(f"{target}: no {what} after {timeout:g} seconds\n{known}\n{self.report()}") from None

    def events(self, name: str = "", *, namespace: str = _DEFAULT_NAMESPACE) -> Trees:
        """The events about objects of that name ("web" or "deployment/web"), or about all; oldest first."""
        kind, slash, plain = name.rpartition("/")
        wanted = self._run(lambda: self._objects.resource(kind)).kind if slash else ""
        return cluster_report.in_order(
            [
                event
                for event in self.list("events", namespace=namespace)
                if plain in ("", event["involvedObject"].get("name"))
                and wanted in ("", event["involvedObject"].get("kind"))
            ]
        )

    # What is done to it.

    def inject(self, **fault: Any) -> AbstractContextManager[Fault]:
        """While the block lasts, spoil the requests that match: see `keelback.testing.faults.Fault`.

        The test's own requests are spared.
        """
        return self._parts.faults.injected(Fault(**fault))

    def drop_watches(self, *, resource: str = "", client: str = "") -> int:
        """End running watches as a broken connection does, those of a resource or of a client; how many."""
        return self._run_now(lambda: self._parts.faults.drop_watches(resource=resource, client=client))

    @property
    def components(self) -> tuple[str, ...]:
        """What may be stopped: "controller-manager", "scheduler", "kubelet/node-0", "apiserver"."""
        return self._parts.components

    def stop_component(self, name: str) -> None:
        """End a component as a crash does. Raises NoSuchComponent."""
        self._run(lambda: self._parts.stop_component(name))

    def start_component(self, name: str) -> None:
        """Start a component that was stopped. Raises NoSuchComponent."""
        self._run(lambda: self._parts.start_component(name))

    def crash_at(self, name: str, point: CrashPoint, *, down_seconds: float = 1.0) -> None:
        """Let a component crash at one of its writes, and start it again after a while. Raises NoSuchComponent."""
        self._run_now(lambda: self._parts.crash_at(name, point, down_seconds))

    def disconnect(self, node: str) -> None:
        """Cut a node off: its kubelet runs on and reaches nobody. Raises NoSuchComponent."""
        self._run_now(lambda: self._parts.disconnect(node))

    def connect(self, node: str) -> None:
        """Connect a node again. Raises NoSuchComponent."""
        self._run_now(lambda: self._parts.connect(node))

    def set_usage(
        self,
        label_selector: str,
        *,
        cpu: str = "",
        memory: str = "",
        shared: bool = False,
        namespace: str = _DEFAULT_NAMESPACE,
    ) -> None:
        """From now on each pod with these labels uses that much, as quantities; `shared`: all that run, together.

        Raises ValueError in a cluster that is not made with `metrics=True`, where nobody would see it.
        """
        if not self.options.metrics:
            raise ValueError("nobody measures what pods use: the cluster needs metrics=True")
        self._run_now(lambda: self._parts.kubelets.use(label_selector, namespace, cpu, memory, is_shared=shared))

    # Functions of the test that take part.

    def script_logs(self, function: LogFunction) -> None:
        """Ask a function what a container's log says; None leaves it to others, and to the pod's annotations.

        As all functions here it is called on the cluster's loop and must not call the cluster. They live as long as it
        is not restored.
        """
        self._parts.kubelets.scripts.logs.append(function)

    def script_commands(self, function: ExecFunction) -> None:
        """Ask a function what a command does that somebody runs in a container: what it prints, or a Ran, or None."""
        self._parts.kubelets.scripts.commands.append(function)

    def script_ports(self, function: PortFunction) -> None:
        """Ask a function what is sent back to who forwards a port of a pod and sends something there; or None."""
        self._parts.kubelets.scripts.ports.append(function)

    def logs(
        self, pod: str, *, container: str = "", previous: bool = False, namespace: str = _DEFAULT_NAMESPACE
    ) -> str:
        """The log of a pod's container as the API serves it. Raises StatusError."""
        query = {"container": container} if container else {}
        if previous:
            query["previous"] = "true"
        path = f"/api/v1/namespaces/{namespace}/pods/{pod.removeprefix('pod/')}/log"
        return self._run(lambda: self._objects.text(path, urlencode(query)))

    def mutate(
        self,
        resource: str,
        function: MutateFunction,
        *,
        operations: Sequence[str] = ("CREATE", "UPDATE"),
        **webhook: Any,
    ) -> None:
        """Ask a function about each write of a resource ("pods", "deployments/scale"), and store what it gives.

        It is a mutating webhook of the function's name: `webhook` has more of its fields (`objectSelector`,
        `failurePolicy`). The function is called while the request waits and must not call the cluster.
        """
        self._add_webhook(resource, WebhookFunction(function, mutates=True), operations, webhook)

    def validate(
        self,
        resource: str,
        function: ValidateFunction,
        *,
        operations: Sequence[str] = ("CREATE", "UPDATE"),
        **webhook: Any,
    ) -> None:
        """Ask a function about each write of a resource: it raises Refused where it should not be. See `mutate`."""
        self._add_webhook(resource, WebhookFunction(function, mutates=False), operations, webhook)

    def control(self, resource: str, function: ControllerFunction) -> None:
        """Run a function as the controller of a resource: given an object and what belongs to it, it gives what should.

        What it gives is applied, owned by the object; what it does not give any more is deleted. It is called again
        when the object or something of its own changes, and is a component of its own name: `stop_component` stops it.
        """
        name = name_of(function)
        self._controllers[name] = (resource, function)
        self._begin(name, resource, function)

    def _begin(self, name: str, resource: str, function: ControllerFunction) -> None:
        found = self._run(lambda: self._objects.resource(resource))
        self._run(lambda: self._parts.add_controller(name, found, function))

    def _add_webhook(
        self, resource: str, webhook: WebhookFunction, operations: Sequence[str], more: Mapping[str, Any]
    ) -> None:
        plural, _, subresource = resource.partition("/")
        found = self._run(lambda: self._objects.resource(plural))
        name = name_of(webhook.function)
        self._webhooks[webhook_functions.host_of(name)] = webhook.answer
        self.apply(webhook_functions.configuration(name, found, subresource, operations, more, mutates=webhook.mutates))

    # What others see of it.

    def url(self) -> str:
        """Where it serves HTTPS, from the first call on: on the loopback, for any client."""
        return f"https://127.0.0.1:{self._run(self._parts.serve)}"

    def kubeconfig(self) -> Path:
        """A kubeconfig file of an administrator, for any client in any language; it is gone when the cluster is."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="keelback-test-")
        path = Path(self._folder.name) / "kubeconfig"
        address = ClusterAddress("keelback-test", self.url(), self._parts.keys.ca.certificate_pem)
        kubeconfig_files.write(path, kubeconfigs.with_token(address, "keelback-test", TOKEN))
        return path

    @property
    def requests(self) -> Sequence[Asked]:
        """The last requests, the components' included; watches and renewals of leases left out."""
        return tuple(self._parts.faults.requests)

    def report(self) -> str:
        """What happened, for a person: what is not well and why, the last events, the last requests."""
        return self._run(lambda: cluster_report.report(self._objects, self.requests, self.now))

    def history(self) -> str:
        """Every object as it is now with the revision of its last write, one a line: the same for the same seed."""
        state = self._run(self._parts.revisions)
        return "\n".join(json.dumps(line) for line in state)

    def record(self) -> Recording:
        """Every write of the store from now on, and every request of a component; it grows until the cluster ends."""
        return self._run_now(lambda: self._parts.record())

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something on the cluster's loop, in its time: for who has a coroutine that should see it pass."""
        return self._run(work)

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._thread is None:
            raise RuntimeError("the cluster does not run: start it, or use it in a with statement")
        return self._thread.run(work)

    def _run_now(self, work: Callable[[], T]) -> T:
        async def do() -> T:
            return work()

        return self._run(do)

    async def _until_ready(self) -> None:
        """Nodes are ready, and pods may be made in the default namespace."""
        for node in self._parts.nodes:
            await self._objects.wait(f"node/{node.name}", satisfied("Ready"), "", _SETTLE_SECONDS)
        await self._objects.wait("serviceaccount/default", satisfied("exists"), _DEFAULT_NAMESPACE, _SETTLE_SECONDS)
