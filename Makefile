.PHONY: build
PY ?= .venv/bin/python

build: ## Compile the core into python/celeriac
	. .venv/bin/activate && maturin develop --release --quiet
