"""Patroni's store of a PostgreSQL cluster's state. Arguments: a namespace, its context, the kind of objects."""

import json
import os
import sys

from patroni.dcs import get_dcs

NAMESPACE, CONTEXT, KIND = sys.argv[1:]
POD = f"pg-{KIND}"

store = get_dcs(
    {
        "kubernetes": {
            "namespace": NAMESPACE,
            "context": CONTEXT,
            "labels": {"application": "patroni"},
            "scope_label": "cluster-name",
            "use_endpoints": KIND == "endpoints",
            "pod_ip": "10.0.0.1",
            "ports": [{"name": "postgresql", "port": 5432}],
        },
        "scope": KIND,
        "name": POD,
        "ttl": 10,
        "loop_wait": 2,
        "retry_timeout": 3,
    }
)
assert store.get_cluster().is_unlocked()
assert store.initialize(create_new=True, sysid="123")
assert not store.initialize(create_new=True, sysid="456")
assert store.set_config_value(json.dumps({"ttl": 10}))
assert store.touch_member({"conn_url": "postgres://10.0.0.1:5432/postgres", "state": "running", "role": "primary"})
assert store.attempt_to_acquire_leader()
cluster = store.get_cluster()
assert cluster.leader.name == POD
assert cluster.initialize == "123"
assert [(member.name, member.data["state"]) for member in cluster.members] == [(POD, "running")]
assert store.update_leader(cluster, 42)
assert store.manual_failover(None, "other")
assert store.set_history_value("[]")
assert store.write_sync_state(POD, None, 0)
cluster = store.get_cluster()
assert (cluster.status.last_lsn, cluster.failover.candidate) == (42, "other")
assert store.delete_leader(cluster.leader, 50)
assert store.get_cluster().is_unlocked()
assert store.delete_cluster()
os._exit(0)  # the threads that watch for it do not end
