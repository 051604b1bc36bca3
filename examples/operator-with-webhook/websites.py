"""An operator's two halves, without a framework: what should exist for a Website, and which Websites are refused.

A framework calls functions like these; a test can do so, too.
"""

REGISTRY = "registry.example/"


def website(site, children):
    """What belongs to a Website: a Deployment, a Service, and the status that tells how many copies are ready."""
    name = site["metadata"]["name"]
    labels = {"website": name}
    container = {"name": "web", "image": site["spec"]["image"], "ports": [{"containerPort": 8080}]}
    metadata = {"name": name, "namespace": site["metadata"]["namespace"]}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": site["spec"]["replicas"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    ready = sum(one.get("status", {}).get("readyReplicas", 0) for one in children if one["kind"] == "Deployment")
    yield {**site, "status": {"readyReplicas": ready}}


def why_not(site):
    """Why a Website is refused; empty where it is not."""
    image = site["spec"]["image"]
    if not image.startswith(REGISTRY):
        return f"image {image} does not come from {REGISTRY}"
    return "" if ":" in image.removeprefix(REGISTRY) else f"image {image} says no version"
