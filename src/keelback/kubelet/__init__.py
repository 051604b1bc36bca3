"""The node's agent: pods bound to the node become containers of the runtime."""
