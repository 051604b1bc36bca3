"""The kernel's network as Keelback uses it: namespaces, the fabric between nodes, and the CNI configuration of pods."""
