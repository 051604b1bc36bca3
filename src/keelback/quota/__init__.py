"""What objects use of a quota: counting rules. Pure: the API server and the quota controller count alike."""
