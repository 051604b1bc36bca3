"""For tests: the real API server in process, a clock moved by hand, fakes of the true edges that keep their contract."""
