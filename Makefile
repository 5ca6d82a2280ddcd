# Set-up, run, test, check: `make help` lists them. Needs Python >= 3.11, git and make.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help install dev run demo test check bench soak lock openapi

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("llmos-lite needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q llmos_lite $(VENV)/lib || true
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

install: $(VENV)/.runtime  ## set up .venv with the locked dependencies

dev: $(VENV)/.dev

run: install  ## start the server on http://127.0.0.1:8420 with data in ./data
	$(BIN)/llmos serve --data data

demo: install  ## start the server on ./demo-data with an example team in it
	$(BIN)/llmos serve --data demo-data --demo

test: dev  ## run all tests (sets itself up)
	$(BIN)/python -m pytest -n auto -m "not soak" --cov --cov-report=term

soak: dev  ## run the long tests: kills and load
	$(BIN)/python -m pytest -m soak

check: dev  ## lint, types, layers, formatting, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m llmos_lite openapi --check docs/openapi.json

bench: dev  ## print the benchmarks, side by side, as ratios
	$(BIN)/python -m benchmarks

lock: dev  ## compile the locks again (no registry host in them)
	$(BIN)/uv pip compile $(LOCK) --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --group build --group dev pyproject.toml -o requirements-dev.lock

openapi: dev  ## write docs/openapi.json
	$(BIN)/llmos openapi docs/openapi.json
