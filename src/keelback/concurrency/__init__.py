"""Time, tasks and back-off: what waits takes what it waits on from here, so that a test can hand in another."""
