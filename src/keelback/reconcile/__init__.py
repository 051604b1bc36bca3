"""What every controller shares: caches, the work queue, the loop, leader election. A controller brings only its policy."""
