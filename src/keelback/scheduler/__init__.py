"""The scheduler process: watches pods and nodes, decides in memory by the rules of `scheduling`, binds in batches."""
