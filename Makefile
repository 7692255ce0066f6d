# The commands everybody uses. Each works from a fresh clone.
PYTHON ?= python3
# Port of `make run`. Not from the environment, where PORT may mean something else: make run PORT=8080
PORT := 8000
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: install run test check lint types layers lock bench bench-sign-in bench-home bench-notices bench-downloads bench-feedback

install: $(STAMP)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(DEV_STAMP): $(STAMP) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@

run: install
	$(BIN)/portal demo --port $(PORT)

# In the order of the folders: the few long stories in e2e and faults first, so that no worker is left alone with one at the end.
test: $(DEV_STAMP)
	tests/install-system-packages
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive portal migrations wsgi.py

types: $(DEV_STAMP)
	$(BIN)/mypy

layers: $(DEV_STAMP)
	$(BIN)/lint-imports

check: lint types layers test

# Pin what pyproject.toml asks for. Needs uv (pip install uv).
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o requirements.txt
	uv pip compile pyproject.toml --extra s3 -c requirements.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o requirements-s3.txt
	uv pip compile pyproject.toml --extra dev -c requirements.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o requirements-dev.txt
	uv pip compile --group pyproject.toml:bench --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o requirements-bench.txt

bench: bench-home bench-notices bench-downloads bench-feedback

bench-home: $(DEV_STAMP)
	$(BIN)/python -m bench.home

# Can the time of an answer tell an account from an unknown address?
bench-sign-in: $(DEV_STAMP)
	$(BIN)/python -m bench.sign_in

# The peers live in a virtual environment of their own: the portal never imports them.
$(BENCH_STAMP): requirements-bench.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes -r requirements-bench.txt
	touch $@

bench-notices: $(DEV_STAMP) $(BENCH_STAMP)
	bench/install-system-packages
	$(BIN)/python -m bench.notices

# Small numbers, to see that it runs: make bench-downloads QUICK=1
bench-downloads: $(DEV_STAMP)
	tests/install-system-packages
	$(BIN)/python -m bench.downloads $(if $(QUICK),--quick)

# Small numbers, to see that it runs: make bench-feedback QUICK=1
bench-feedback: $(DEV_STAMP)
	$(BIN)/python -m bench.feedback $(if $(QUICK),--quick)
