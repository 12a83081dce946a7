# Every command that a person, a hook or CI runs. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
DEMO_DIR ?=
BENCH_ARGS ?=
PEERS := $(patsubst .ci/peers/%.txt,.venvs/peer-%/.ready,$(wildcard .ci/peers/*.txt))

.PHONY: help setup servers build fmt lint typecheck stubtest test test-all test-rust test-unit test-contract test-compat \
	test-integration test-stress bench bench-rust bench-boundary bench-system bench-cluster bench-embedded \
	bench-report demo docs \
	wheel venvs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

# --- set-up and build --------------------------------------------------------------------------------------------

setup: $(VENV)/.ready ## Create .venv with the development tools (needs python3, rust, make)

$(VENV)/.ready: pyproject.toml .ci/venv
	bash .ci/venv $(VENV) $(PYTHON)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --disable-pip-version-check --group dev
	touch $@

# Debian starts what it installs as a service; a test's server is its own, so that one is not wanted.
servers: ## Install the servers that tests and benches start (apt-get; as root or with sudo)
	@command -v redis-server >/dev/null && command -v redis-sentinel >/dev/null && command -v rabbitmq-server >/dev/null || { \
		run=; [ "$$(id -u)" = 0 ] || run=sudo; \
		$$run apt-get update -qq; \
		printf '#!/bin/sh\nexit 101\n' | $$run tee /usr/sbin/policy-rc.d >/dev/null; $$run chmod +x /usr/sbin/policy-rc.d; \
		$$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			redis-server redis-sentinel rabbitmq-server >/dev/null; \
		$$run rm -f /usr/sbin/policy-rc.d; \
	}

build: $(VENV)/.ready ## Compile the core into python/celeriac (release)
	. $(VENV)/bin/activate && PIP_QUIET=1 maturin develop --release --quiet

wheel: $(VENV)/.ready ## Build an abi3 wheel into dist/
	$(PY) -m maturin build --profile dist --out dist

venvs: .venvs/celery/.ready ## Create the virtual environments of real Celery (differential tests)

.venvs/celery/.ready: .ci/venv .ci/celery.txt
	bash .ci/venv .venvs/celery $(PYTHON)
	.venvs/celery/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/celery.txt
	touch $@

# The bench's peers, each in an environment of its own: lower bounds, so the newest is measured.
.venvs/peer-%/.ready: .ci/venv .ci/peers/%.txt
	bash .ci/venv .venvs/peer-$* $(PYTHON)
	.venvs/peer-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r .ci/peers/$*.txt
	touch $@

# --- checks ------------------------------------------------------------------------------------------------------

fmt: $(VENV)/.ready ## Format Rust and Python, and fix what can be fixed safely
	cargo fmt --all
	$(PY) -m ruff check --fix --quiet || true
	$(PY) -m ruff format --quiet

lint: $(VENV)/.ready ## ruff, rustfmt --check, clippy with warnings as errors
	$(PY) -m ruff check --quiet
	$(PY) -m ruff format --check --quiet
	cargo fmt --all --check
	PYO3_PYTHON=$(abspath $(PY)) cargo clippy --workspace --all-targets --quiet -- -D warnings

typecheck: $(VENV)/.ready ## mypy, strict for the package
	$(PY) -m mypy

stubtest: $(VENV)/.ready ## Compare _core.pyi with the compiled module
	MYPYPATH=python $(PY) -m mypy.stubtest celeriac._core --allowlist .ci/stubtest-allow.txt

# --- tests -------------------------------------------------------------------------------------------------------

test: servers build venvs lint typecheck stubtest test-rust ## Everything CI runs: build, all checks, all tests (about 15 minutes)
	$(PYTEST) tests

test-all: test bench-boundary ## `test`, and the border's benches once

test-rust: $(VENV)/.ready ## Unit, property and doc tests of the Rust crates
	if command -v cargo-nextest >/dev/null; then \
		PYO3_PYTHON=$(abspath $(PY)) cargo nextest run --workspace --no-tests=pass --status-level fail --final-status-level fail; \
	else \
		PYO3_PYTHON=$(abspath $(PY)) cargo test --workspace --quiet --lib --bins --tests; \
	fi
	PYO3_PYTHON=$(abspath $(PY)) cargo test --workspace --quiet --doc

test-unit: ## Python unit tests: no server, no subprocess
	$(PYTEST) tests/unit

test-contract: ## One suite a seam, over every transport, backend and pool
	$(PYTEST) tests/contract

test-compat: venvs ## Golden messages and a real Celery at the other end
	$(PYTEST) tests/compat

test-integration: ## Real worker processes, the command line, the examples
	$(PYTEST) tests/integration tests/typing

test-stress: ## SIGKILL, SIGSTOP, full disks, races (bounded)
	$(PYTEST) tests/stress

# --- benches -----------------------------------------------------------------------------------------------------

bench: build bench-rust bench-boundary bench-system bench-cluster bench-embedded bench-report ## All; writes docs/performance.md

bench-rust: $(VENV)/.ready ## Benches of the crates, without Python
	$(PY) -m benches.crates

bench-boundary: servers ## Cost of each core call as Python sees it
	$(PY) -m benches.boundary

bench-system: servers $(PEERS) ## Whole runs on one redis-server, beside peers (BENCH_ARGS="--quick --peers celery,huey")
	$(PY) -m benches.system --broker redis $(BENCH_ARGS)

bench-cluster: servers ## celeriac on a Redis Cluster, and on one redis-server beside it
	$(PY) -m benches.system --broker redis-cluster $(BENCH_ARGS)

bench-embedded: .venvs/peer-huey/.ready ## The same on SQLite files
	$(PY) -m benches.system --broker sqlite $(BENCH_ARGS)

bench-report: ## Rewrite docs/performance.md from benches/results
	$(PY) -m benches.report

# --- the rest ----------------------------------------------------------------------------------------------------

demo: build ## Index the text files of DEMO_DIR (default: this repository) through a worker
	$(PY) -m examples.indexer $(if $(DEMO_DIR),"$(DEMO_DIR)")

docs: $(VENV)/.ready ## Generate the reference pages and check every link
	$(PY) docs/build.py

clean: ## Delete build products (not the virtual environments)
	cargo clean
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .benchmarks python/celeriac/_core*.so
