"""Time, tasks and back-off: everything that waits takes what it waits on from here, so that a test can hand in another."""
