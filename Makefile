# make demo | demo-kafka | test | test-faults | lint | types | bench | bench-kafka | clean | help. Everything lives in .venv and .cache; nothing is installed by hand.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GYM10 := .cache/gymnasium-1.0
TEST_PROCESSES ?= 2
OTHER_PYTHONS := 3.12 3.13
OF_THE_CLIENT := tests/unit/client tests/unit/schemas tests/integration/test_spool*.py \
  tests/integration/test_recorder_*.py tests/e2e/test_processes.py tests/e2e/test_actor_kill.py
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --require-hashes

.PHONY: help setup setup-gym10 demo demo-kafka test test-faults test-faults-share test-unit test-gym10 test-pythons lint types bench bench-kafka lock clean postgres browser

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("Tupli needs Python 3.11 to 3.13, not " + sys.version.split()[0]) if not (3, 11) <= sys.version_info < (3, 14) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/uv.txt

$(VENV)/.done: $(UV) requirements/dev.txt pyproject.toml
	$(INSTALL) --python $(BIN)/python -r requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(GYM10)/.done: $(VENV)/.done requirements/gymnasium-1.0.txt
	$(UV) venv --quiet --clear --python $(BIN)/python $(GYM10)
	$(INSTALL) --python $(GYM10)/bin/python -r requirements/gymnasium-1.0.txt
	$(UV) pip install --quiet --python $(GYM10)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/.done ## Make .venv with the locked dependencies

setup-gym10: $(GYM10)/.done ## Make the environment with Gymnasium 1.0.0

demo: setup ## Record CartPole, kill a recorder, pull a filtered dataset, check it
	$(BIN)/python docs/demo.py

demo-kafka: setup ## The same over Kafka: a real broker, two workers, one of them killed on the way
	PYTHONPATH=tests $(BIN)/python docs/demo_kafka.py

browser: ## Install Chromium for the tests where there is none (Debian, as root)
	@{ command -v chromium && command -v chromedriver; } >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; }

postgres: ## Install PostgreSQL for the tests where there is none (Debian, as root)
	@test -n "$${TUPLI_TEST_POSTGRES:-}" || command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; }

test: setup postgres browser test-gym10 ## Run the test suite, with the oldest and the newest Gymnasium; starts the broker it needs
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile -m "not faults"

test-faults: setup ## Run the long tests: workers killed and frozen, a store in trouble, over a real broker
	$(BIN)/python -m pytest -m faults

test-faults-share: setup ## The share of them that a change must pass (`.ci/run`)
	$(BIN)/python -m pytest -m "faults and not thorough"

test-unit: setup ## Run the unit tests alone
	$(BIN)/python -m pytest tests/unit

test-gym10: setup-gym10 ## Run the client's tests with Gymnasium 1.0.0
	$(GYM10)/bin/python -m pytest -p no:cacheprovider tests/unit/client tests/e2e/test_transitions.py

# Where Pythons come from pyenv, a version has to be asked for.
.cache/python-%/.done: $(VENV)/.done requirements/dev.txt
	PYENV_VERSION=$* $(UV) venv --quiet --clear --no-python-downloads --python $* $(@D)
	$(INSTALL) --python $(@D)/bin/python -r requirements/dev.txt
	$(UV) pip install --quiet --python $(@D)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

test-pythons: setup ## Run the tests of client, recorder and contracts with every other Python that is found here
	@for version in $(OTHER_PYTHONS); do \
	  if PYENV_VERSION=$$version $(UV) python find --quiet --no-python-downloads $$version >/dev/null 2>&1; then \
	    $(MAKE) --no-print-directory .cache/python-$$version/.done; \
	    .cache/python-$$version/bin/python -m pytest -p no:cacheprovider -q $(OF_THE_CLIENT); \
	  else echo "Python $$version is not on this machine: not tested with it"; fi; done

lint: setup ## Check style, formatting and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## Check types (mypy strict, tests included)
	$(BIN)/mypy

.cache/peers/.done: $(VENV)/.done requirements/peers.txt
	$(UV) venv --quiet --clear --python $(BIN)/python .cache/peers
	$(INSTALL) --python .cache/peers/bin/python -r requirements/peers.txt
	@touch $@

bench: setup .cache/peers/.done ## Measure speed and memory against peers; writes benchmarks/results.json
	$(BIN)/python -m benchmarks

bench-kafka: setup ## Measure the grown system over a real broker; writes benchmarks/results_kafka.json
	PYTHONPATH=tests $(BIN)/python -m benchmarks.kafka_bench

lock: setup ## Compile requirements/*.txt from pyproject.toml
	requirements/compile.sh $(UV)

clean: ## Remove what make made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
