# Everything starts here: `make test`, `make reproduce`. Needs only Python >= 3.11 with venv, git and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2

.PHONY: help reproduce test test-slow test-quick check lint types layers bench lock clean

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("heliostat needs Python 3.11 or newer; set PYTHON=python3.11" * (sys.version_info < (3, 11)) or 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps -e .
	touch $(READY)

install: $(READY) ## build .venv from requirements.lock (done by every other target)

reproduce: $(READY) ## every figure of the papers and the verdict on every claim
	$(BIN)/heliostat reproduce localization --out results/localization
	$(BIN)/heliostat reproduce sensing --out results/sensing

# Most tests compile a program and run it once, so XLA's optimisations cost more than they save.
test: $(READY)   ## the tests, shapes and types checked at run time; long Monte Carlo apart
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-slow: $(READY) ## the long ones: many random cases against independent solvers
	SHAPE_CHECKS=off $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

QUICK := tests/bounds tests/channel tests/geometry tests/observation tests/rates tests/scenario tests/surface tests/test_units.py
test-quick: $(READY) ## physics and scenario files only, for the inner loop
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(QUICK)

lint: $(READY)   ## style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(READY)  ## static types
	$(BIN)/mypy

layers: $(READY) ## each layer imports only from layers below it
	$(BIN)/lint-imports

check: lint types layers test ## what CI runs

bench: $(READY)  ## speed and memory, as ratios against what a user would pick instead
	$(BIN)/python -m benchmarks

lock: $(READY)   ## renew requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	  --custom-compile-command 'make lock' pyproject.toml --group dev -o requirements.lock

clean:           ## remove what the targets made
	rm -rf .venv results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
