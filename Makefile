PYTHON ?= python3
# Another Python has an environment of its own: `make test PYTHON=python3.13`.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
IMAGE_EXTRAS := postgres mysql memcached nats kafka otel grpc encryption jwt
WORKFLOW_TESTS = $(shell grep -l worker_for tests/integration/test_*.py)
# What is compiled is kept, also where the environment says otherwise: a thousand processes of the tests read it.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help setup packages demo dev test storm slow soak steady coverage lint pages docs site faults attack bench figures peers scale capacity lock clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.done  ## Build .venv with everything in it, the temporal command too

$(VENV)/.done: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Three orders through the order graph on a real embedded Temporal server
	@$(BIN)/anabranch demo

dev: setup  ## Temporal server, Web UI, codec server and worker until Ctrl-C
	@$(BIN)/anabranch dev

packages:  # What the tests need and PyPI does not have, where it can be installed
	@PYTHON="$(PYTHON)" tools/system-packages

test: packages setup  ## The tests, on real servers; TESTS= for options of pytest that choose some
	$(BIN)/python -m tests.compiled
	$(PYTEST) -n 6 --dist loadscope --max-worker-restart 0 --end-after 2400 -m "not slow" $(TESTS)

storm: packages setup slow  ## The tests that take minutes: `make slow`, and every run replayed at each task
	ANABRANCH_TEST_EVERY_RUN_REPLAYED=1 $(PYTEST) --end-after 2400 -n 4 --dist loadscope -m "not slow" $(WORKFLOW_TESTS)

slow: packages setup  # Large runs, a twentieth of `make faults`; SLOW= leaves some out
	$(PYTEST) --end-after 2400 -m slow $(SLOW)

soak: packages setup  ## Ten times `make test` beside a busy loop on each core, and 200 workers stopped at any moment (hours)
	PYTHON="$(PYTHON)" BIN=$(BIN) tools/soak

steady: setup  ## Half an hour of mixed runs at a steady rate on one worker: does anything grow? MINUTES=, RATE=
	$(BIN)/python -m tests.steady $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE))

coverage: setup  ## The share of the code that the tests without servers run
	$(BIN)/coverage erase
	ANABRANCH_TEST_EXAMPLES=all $(BIN)/coverage run -m pytest -q -n 2 --end-after 1200 tests/unit tests/hostile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: setup  ## Formatting, lint, spelling, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

pages: setup  ## Write what the documentation repeats of the code: docs/api.md, docs/reference/, files in docs/extending.md
	$(BIN)/python tools/docs

docs: pages site  ## Write these pages, and build the site of the documentation into site/; a dead link fails it

site: setup  # The site alone, as CI builds it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

faults: setup  ## Faults at every step of sagas, caches, consumers of events; storms over everything, for hours (RESUME=1 goes on)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.cache_faults
	$(BIN)/python -m tests.event_faults
	$(BIN)/python -m tests.storms $(if $(RESUME),--resume)

attack: packages setup  ## Attack the real code; TIER=release for the full counts, SEED= to repeat or go on, CLASSES= for some
	$(BIN)/python -m tests.attack --tier $(or $(TIER),small) $(if $(SEED),--seed $(SEED)) $(CLASSES)

# Where the benchmarks keep every round, which `benchmarks/compare.py` reads; FIGURES= for another folder.
FIGURES ?= .figures
bench: setup  ## The interpreter beside hand-written workflows, wire format and caches beside plain libraries, expressions
	$(BIN)/python -m benchmarks.serialization --json $(FIGURES)/serialization.json
	$(BIN)/python -m benchmarks.expressions --json $(FIGURES)/expressions.json
	$(BIN)/python -m benchmarks.overhead --json $(FIGURES)/overhead.json
	$(BIN)/python -m benchmarks.cache --json $(FIGURES)/cache.json

figures: setup  # `make bench` in two minutes, on a machine of which nothing is known
	$(BIN)/python -m benchmarks.serialization --rounds 10 --json $(FIGURES)/serialization.json
	$(BIN)/python -m benchmarks.expressions --rounds 5 --json $(FIGURES)/expressions.json
	$(BIN)/python -m benchmarks.overhead --rounds 6 --concurrent 20 --sizes 0 8000 --json $(FIGURES)/overhead.json
	$(BIN)/python -m benchmarks.cache --rounds 6 --calls 100 --json $(FIGURES)/cache.json

# The libraries that are compared have an environment of their own.
PEERS := .venv-peers
$(PEERS)/.done: benchmarks/peers/requirements.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

peers: setup $(PEERS)/.done  ## Graphs beside hand-written workflows, a DSL, temporalio-langgraph, DBOS: docs/performance.md
	$(BIN)/python -m benchmarks.peers --python $(PEERS)/bin/python --page docs/performance.md --json $(FIGURES)/peers.json

scale: setup  ## How cost grows with nodes, branches, items, changes, events and keys
	$(BIN)/python -m benchmarks.scale --page docs/performance.md --json $(FIGURES)/scale.json

capacity: setup  ## What one, two and four workers carry, what the limit is, and what a run costs in Temporal
	$(BIN)/python -m benchmarks.capacity --json $(FIGURES)/capacity.json

RESOLVE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
LOCK = $(RESOLVE) --no-emit-package anabranch pyproject.toml
lock:  ## Resolve requirements.lock anew, what the image takes of it, and what is compared with it (needs uv)
	$(LOCK) --extra test --output-file requirements.lock
	$(LOCK) $(addprefix --extra ,$(IMAGE_EXTRAS)) --constraint requirements.lock --no-annotate \
	  --output-file deploy/requirements.lock
	$(RESOLVE) benchmarks/peers/requirements.in --constraint requirements.lock --no-annotate \
	  --output-file benchmarks/peers/requirements.lock

clean:  ## Remove what the targets made
	rm -rf site .attack .figures .venv .venv-* .coverage* build dist .mypy_cache .ruff_cache
