"""What every controller shares: caches, work queue, loop, leader election. A controller brings only its policy."""
