"""For tests: the real API server in process, a clock moved by hand, fakes of true edges that keep their contract."""
