# Main targets: `make test`, `make reproduce`. Requires Python >= 3.11 with venv, git and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2

.PHONY: help reproduce test test-browser test-slow test-quick check lint types layers docs package bench lock clean

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

# Most tests compile a program and run it once, so XLA's optimizations cost more than they save; see tests/conftest.py.
UNOPTIMIZED := JAX_DISABLE_MOST_OPTIMIZATIONS=1
test: $(READY)   ## run the tests with run-time checks of shapes and types, except slow ones
	$(UNOPTIMIZED) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not browser"

test-slow: $(READY) ## run the slow tests: Monte Carlo, many random cases, independent solvers
	SHAPE_CHECKS=off $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

AXE := .venv/axe.min.js
$(AXE): $(READY) # checks accessibility; without npm that test is skipped
	-command -v npm >/dev/null && cd .venv && npm pack --silent axe-core@4.14.1 >/dev/null \
	  && tar -xzf axe-core-4.14.1.tgz --strip-components=1 package/axe.min.js

test-browser: $(AXE) ## run the tests of the planner in Debian's Chromium
	AXE_CORE=$$(ls $(AXE) 2>/dev/null) $(BIN)/python -m pytest -m browser tests/browser

QUICK := tests/bounds tests/channel tests/geometry tests/observation tests/rates tests/scenario tests/surface tests/test_units.py
test-quick: $(READY) ## run the tests of physics and scenario files only
	$(UNOPTIMIZED) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not browser" $(QUICK)

# Sionna RT needs the library LLVM. Where the system has none that is new enough, that of Debian's
# package is unpacked into the environment.
RAYTRACE := .venv-raytrace
$(RAYTRACE)/.ready: requirements.lock pyproject.toml
	test -x $(RAYTRACE)/bin/python || $(PYTHON) -m venv $(RAYTRACE)
	$(RAYTRACE)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(RAYTRACE)/bin/uv pip install --quiet --python $(RAYTRACE)/bin/python --require-hashes -r requirements.lock
	$(RAYTRACE)/bin/uv pip install --quiet --python $(RAYTRACE)/bin/python -e '.[raytrace]'
	ldconfig -p | grep -Eq 'libLLVM\.so\.(19|2[0-9])' || \
	  (cd $(RAYTRACE) && apt-get download libllvm19 && dpkg-deb -x libllvm19_*.deb llvm) || \
	  echo 'Install LLVM 19 and set DRJIT_LIBLLVM_PATH to its library, libLLVM.so.19.1.'
	touch $(RAYTRACE)/.ready

test-raytrace: $(RAYTRACE)/.ready ## install Sionna RT in an environment of its own and run its tests
	library=$$(ls $(RAYTRACE)/llvm/usr/lib/*/libLLVM.so.19.1 2>/dev/null | head -n 1); \
	if test -n "$$library"; then export DRJIT_LIBLLVM_PATH="$$PWD/$$library"; fi; \
	$(RAYTRACE)/bin/python -m pytest -m raytrace tests/api/test_ray_tracing.py

lint: $(READY)   ## check style and spelling, American throughout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell --builtin clear,rare,en-GB_to_en-US --ignore-words-list mitre

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
	rm -rf .venv .venv-raytrace results docs/_build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
