# Two commands: `make serve` and `make test`. Both make .venv first, from the versions in constraints.txt.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
BENCHMARKS ?= roofline kernels service adapters_sweep hot_swap overload fairness wrong_adapter peers start access_log engine uploads backup training

.DEFAULT_GOAL := help
.PHONY: help serve test test-long test-docker lint types imports tests format bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/installed: pyproject.toml constraints.txt hatch_build.py $(wildcard adapters/kernels/*.[ch])
	$(PYTHON) -c 'import sys; sys.exit("AdaKron Serve needs Python 3.11 or later: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	@test -f adapters/kernels/libkernels.so || echo 'No C compiler: attention and adapters run in torch, slower (docs/operations.md)'
	@touch $@

serve: .venv/installed ## Install if need be, and serve the shipped tasks on port $(PORT)
	$(BIN)/adakron serve --port $(PORT)

test: lint types imports tests ## Install if need be, and check everything

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

imports: .venv/installed
	$(BIN)/lint-imports

tests: .venv/installed # the files in their order: those that start servers, and take longest, come first
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m 'not alone'
	$(BIN)/pytest -m alone

test-long: .venv/installed ## Run tests/long in full (over an hour; docs/reliability.md has the last result)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/pytest --long tests/long

test-docker: .venv/installed ## Build the image, bring docker-compose.yml up, test it under load, take it down (needs Docker)
	$(BIN)/pytest -v tests/docker

format: .venv/installed ## Put the code into its canonical form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed ## Measure what is claimed (quiet machine, about 115 minutes); BENCHMARKS="service fairness" for some
	@failed=; for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

clean: ## Remove the environment and the caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache adapters/kernels/*.so
