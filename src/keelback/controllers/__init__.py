"""The controllers of kube-controller-manager, one file each: a pure plan, and a few lines that carry it out."""
