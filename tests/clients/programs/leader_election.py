"""Two candidates of the official client for each kind of lock: one leads, the other follows. Argument: a namespace."""

import os
import sys
import threading
import time

from kubernetes import client, config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock import configmaplock, leaselock

NAMESPACE = sys.argv[1]
config.load_kube_config()


def election(kind, name):
    leaders = []
    elected = threading.Event()

    def candidate(who):
        def lead():
            leaders.append(who)
            elected.set()

        chosen = electionconfig.Config(
            kind(name, NAMESPACE, who),
            lease_duration=4,
            renew_deadline=3,
            retry_period=1,
            onstarted_leading=lead,
            onstopped_leading=lambda: None,
        )
        leaderelection.LeaderElection(chosen).run()

    for who in ("one", "two"):
        threading.Thread(target=candidate, args=(who,), daemon=True).start()
    assert elected.wait(30)
    return leaders


by_map = election(configmaplock.ConfigMapLock, "map")
by_lease = election(leaselock.LeaseLock, "lease")
leases = client.CoordinationV1Api()
first = leases.read_namespaced_lease("lease", NAMESPACE).spec
deadline = time.monotonic() + 30
while (now := leases.read_namespaced_lease("lease", NAMESPACE).spec).renew_time == first.renew_time:
    assert time.monotonic() < deadline
    time.sleep(0.1)
assert now.holder_identity == first.holder_identity
assert len(by_map) == len(by_lease) == 1
os._exit(0)  # leading does not end
