"""Nodes without machines: they keep leases, take pods through what would happen to them, and answer for them."""
