# `make` prints this menu. Every verb sets up .venv by itself where missing.

PYTHON ?= python3
BIN := .venv/bin
RECIPE := recipes/VoxCeleb1

.PHONY: help demo test test-long check benchmarks

help:  ## this menu
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/ready  ## train and verify on synthetic voices (10 minutes)
	$(BIN)/python $(RECIPE)/demo.py $(RECIPE)/experiments/demo.yaml

# A process for each core, each with one thread: more would wait for each other.
test: .venv/ready  ## the test suite (8 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-long: .venv/ready  ## fuzz, soak, several processes and more (an hour)
	$(BIN)/python -m pytest -m "long and not gpu"

check: .venv/ready  ## format, lint, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/yamllint --strict .
	$(BIN)/codespell

benchmarks: .venv/ready  ## every stage timed beside today's code (15 minutes)
	$(BIN)/python -m benchmarks

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), \
	    "Python 3.11 to 3.13 is needed: make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@
