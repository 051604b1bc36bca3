"""The container runtime as a node sees it: CRI v1 in Keelback's own values, and containerd behind it."""
