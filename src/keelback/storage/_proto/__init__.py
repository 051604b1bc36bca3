"""Messages of etcd's v3 API, generated from the `.proto` file beside this one."""
