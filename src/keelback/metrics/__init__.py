"""The resource metrics API (metrics.k8s.io): what nodes and pods use now, read from the kubelets every few seconds."""
