# `make demo` shows what it does, `make test` proves it; both need git, make and Python 3.11 alone.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Options for pytest: make test PYTEST_ARGS="tests/log -x"
PYTEST_ARGS ?=
# Options for the benchmarks: make bench BENCH_ARGS="--help"
BENCH_ARGS ?=
# The interpreter for .venv; by default the first of these on the PATH that is new enough.
PYTHON ?=
PYTHONS := python3 python3.13 python3.12 python3.11 python3.14 python

VENV := .venv
BIN := $(VENV)/bin
# Files in the order that tests/conftest.py gives them.
TWO_PROCESSES := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# What fails is run once more; what then passes is told at the end, with why it failed.
ONCE_MORE := --reruns 1
STAMP := $(VENV)/.installed
REQUIREMENTS := --constraint constraints.txt --editable '.[dev]'

.PHONY: help venv bytecode lock servers spark duckdb places check test test-system test-long fuzz demo bench clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

venv: $(STAMP) ## create .venv with the package, `dl` and everything for tests

# uv installs in seconds what takes pip minutes; pip remains for indexes that only pip is told of.
# Bytecode is written now, as every process would compile it anew where Python is told to write none.
$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	suits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  for python in $(or $(PYTHON),$(PYTHONS)); do \
	    if "$$python" -c "$$suits" 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python 3.11 or newer with its venv module among: $(or $(PYTHON),$(PYTHONS))." >&2; \
	    echo "Install one (Debian: apt-get install python3-venv), or: make venv PYTHON=/path/to/python" >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$($$found --version)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@echo "Installing into $(VENV)"
	@set -e; quiet_pip='$(BIN)/python -m pip install --quiet --disable-pip-version-check'; \
	export PIP_ROOT_USER_ACTION=ignore UV_SYSTEM_CERTS=1; \
	$$quiet_pip uv \
	  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(REQUIREMENTS) \
	  || $$quiet_pip $(REQUIREMENTS)
	@touch $@

lock: venv ## renew constraints.txt: the newest versions that fit, for every supported Python
	@UV_SYSTEM_CERTS=1 $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --extra dev --no-annotate --custom-compile-command "make lock" \
	  --output-file constraints.txt pyproject.toml

servers: venv ## fetch MariaDB, MySQL and pgbouncer for the tests where they are missing
	@$(BIN)/python -m tests.servers.fetch

spark: venv ## fetch Spark with Delta for the tests marked `system`
	@$(BIN)/python -m tests.servers.spark

duckdb: venv ## install DuckDB with its Delta extension for the tests marked `system`
	@$(BIN)/python -m tests.servers.duckdb

places: venv ## install what judges docker/, cluster/ and reports: linters, promtool, buildah, Slurm, Chromium (root)
	@$(BIN)/python -m tests.servers.places

check: venv ## lint, format, types, import contracts, what tests/house.py says
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted: run $(BIN)/ruff format" >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/python -m tests.house

test: check servers bytecode ## all checks and all tests, on real servers
	@$(BIN)/python -m pytest $(TWO_PROCESSES) $(ONCE_MORE) $(PYTEST_ARGS)

test-system: venv servers spark duckdb places bytecode ## Spark as the judge, the image, Slurm, an installation of its own
	@$(BIN)/python -m pytest -m system $(TWO_PROCESSES) $(ONCE_MORE) $(PYTEST_ARGS)

# As an installation does: else every process compiles it anew where Python is told to write none.
bytecode: venv
	@$(BIN)/python -m compileall -q deltalakedb

test-long: venv servers bytecode ## faults and load at random, for as long as DL_LENGTH says
	@$(BIN)/python -m pytest -m long $(TWO_PROCESSES) $(PYTEST_ARGS)

fuzz: venv ## damaged logs for as long as FUZZ_ARGS="--seconds 600 --seed 7" says
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

demo: venv ## import a real table on a Dask cluster, compare it, show it
	@$(BIN)/python examples/demo.py

bench: venv servers bytecode ## measure; the figures are ratios of the same run
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean: ## remove everything that was made here
	rm -rf $(VENV) .servers demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
