"""Messages of CRI v1 and of containerd's events, generated from the `.proto` files beside this one."""
