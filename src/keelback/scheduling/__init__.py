"""Where a pod may run and where it best runs: rules over columns of nodes. Pure: no I/O, no clock, no chance."""
