# Main targets: `make test`, `make reproduce`. Requires Python >= 3.11 with venv, git and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2

.PHONY: help reproduce test test-slow test-quick check lint types layers docs package bench lock clean

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("heliostat needs Python 3.11 or newer; set PYTHON=python3.11" * (sys.version_info < (3, 11)) or 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps -e .
	touch $(READY)

install: $(READY) ## build .venv from requirements.lock (every other target does this, too)

reproduce: $(READY) ## compute every figure of the papers and check every claim
	$(BIN)/heliostat reproduce localization --out results/localization
	$(BIN)/heliostat reproduce sensing --out results/sensing

# Most tests compile a program and run it once, so XLA's optimisations cost more than they save.
test: $(READY)   ## run the tests with run-time checks of shapes and types, except slow ones
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-slow: $(READY) ## run the slow tests: Monte Carlo, many random cases, independent solvers
	SHAPE_CHECKS=off $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

QUICK := tests/bounds tests/channel tests/geometry tests/observation tests/rates tests/scenario tests/surface tests/test_units.py
test-quick: $(READY) ## run the tests of physics and scenario files only
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(QUICK)

lint: $(READY)   ## check style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(READY)  ## check static types
	$(BIN)/mypy

layers: $(READY) ## check that each layer imports only from layers below it
	$(BIN)/lint-imports

check: lint types layers test ## run all checks of CI

SITE := docs/_build/html
docs: $(READY)   ## build the documentation into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -j $(WORKERS) -b html -d docs/_build/doctrees docs $(SITE)
	$(BIN)/python docs/generate/outside_requests.py $(SITE)

package: $(READY) ## build wheel and sdist, install them in a clean environment, run a command
	.ci/package

bench: $(READY)  ## measure run time and memory, relative to common alternatives
	$(BIN)/python -m benchmarks

lock: $(READY)   ## update requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	  --custom-compile-command 'make lock' pyproject.toml --extra plan --extra docs --group dev -o requirements.lock

clean:           ## remove the files that the targets created
	rm -rf .venv results docs/_build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
