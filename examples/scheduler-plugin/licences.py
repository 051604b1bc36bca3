"""A scheduler plugin: only so many pods that need a licence run on one node."""

from keelback.scheduling.user_plugins import NodePlugin


class Licences(NodePlugin):
    def __init__(self, arguments):
        self.limit = arguments.get("limit", 1)

    def filter_node(self, pod, node):
        if "licence" not in pod.labels:
            return None
        taken = sum("licence" in other.info.labels for other in node.pods)
        return None if taken < self.limit else "node(s) had no licence left"
