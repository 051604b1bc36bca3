# The one entry for people and for CI. Everything runs in .venv, which `make setup` makes.
BIN := .venv/bin

.PHONY: setup fmt check test test-clients bench bench-scheduler docs clean

setup:  ## the virtual environment with Keelback and what its tests need; as root on Debian also what containers need
	./setup dev

fmt: setup  ## format, and fix what can be fixed without thinking
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup  ## everything that can be said without running the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: setup  ## all tests that this machine can run; TESTS=tests/scheduler for some
	$(BIN)/pytest $(or $(TESTS),-q)

test-clients: setup  ## unmodified clients, those that take long to install or run included
	$(BIN)/pytest -q --clients tests/clients

bench: setup  ## CPU time per piece of work; docs/performance.md has figures
	$(BIN)/python bench/run.py

bench-scheduler: setup  ## the workloads of Kubernetes' scheduler_perf suite, as large as they are there; SCALE=0.1 for less
	$(BIN)/python bench/scheduler_perf.py --scale $(or $(SCALE),1)

docs: setup  ## the documentation against the code: links, controllers, commands (typed)
	$(BIN)/pytest -q tests/test_docs.py tests/docs

clean:  ## what tools leave behind; not the environment
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
