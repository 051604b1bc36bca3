"""CEL: the CPU time of one evaluation of typical rules, with a budget as admission has it, and of compiling one.

Kubernetes evaluates such rules on every write of an object whose kind has them.
"""

from __future__ import annotations

import time

from keelback.cel.environment import Budget, Environment
from keelback.cel.types import INT, STRING, list_of, map_of, object_of

CONTAINER = object_of("container", {"name": STRING, "image": STRING, "cpu": INT})
OBJECT = object_of(
    "object",
    {"replicas": INT, "max": INT, "name": STRING, "labels": map_of(STRING, STRING), "containers": list_of(CONTAINER)},
)
VALUE = {
    "replicas": 3,
    "max": 5,
    "name": "abc",
    "labels": {"app": "web", "tier": "front"},
    "containers": [{"name": f"c{number}", "image": "registry/app:v1", "cpu": number} for number in range(100)],
}
RULES = {
    "one comparison": "self.replicas <= self.max",
    "comparison and prefix": 'self.replicas <= self.max && self.name.startsWith("a")',
    "presence and membership": "!has(self.labels.tier) || self.labels.tier in ['front', 'back']",
    "unchanged": "self.name == oldSelf.name",
    "pattern": "self.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "all of 100": "self.containers.all(c, c.cpu >= 0)",
    "all of 100, two tests": "self.containers.all(c, c.cpu >= 0 && c.image.startsWith('registry/'))",
    "map of 100": "self.containers.map(c, c.name).size() == 100",
}
SECONDS_PER_RULE = 0.5


def microseconds(work: object, batch: int) -> float:
    """The CPU time of one call, the best of as many batches as there is time for."""
    assert callable(work)
    best = float("inf")
    ends = time.process_time() + SECONDS_PER_RULE
    while time.process_time() < ends:
        start = time.process_time()
        for _ in range(batch):
            work()
        best = min(best, (time.process_time() - start) / batch)
    return best * 1e6


def main() -> None:
    """One line for each rule."""
    environment = Environment({"self": OBJECT, "oldSelf": OBJECT})
    values = {"self": VALUE, "oldSelf": VALUE}
    for name, rule in RULES.items():
        program = environment.compile(rule)
        assert program.evaluate(values) is True
        batch = 20 if "100" in name else 2000
        spent = microseconds(lambda program=program: program.evaluate(values, Budget()), batch)
        print(f"{name:24} {spent:8.2f} µs CPU")
    rule = RULES["comparison and prefix"]
    print(f"{'compiling that one':24} {microseconds(lambda: environment.compile(rule), 50):8.2f} µs CPU")


if __name__ == "__main__":
    main()
