"""Who calls, and what they may do: certificates and tokens, RBAC with upstream's first roles, the Node authorizer."""
