# Needs Python 3.11 or newer, git and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test lint bench resolve clean

help:    ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.ready  ## a virtual environment in .venv with evoseg and its tests

# torch first and alone, so that no other package's range picks another build of it.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

demo: setup  ## kidneys on two real scans: labels, cases.csv and a picture, in demo/
	$(BIN)/evoseg segment tests/data/demo -o demo --bundle kidney_ct_regression_segmentation --overwrite

test: setup  ## the tests
	$(BIN)/python -m pytest

lint: setup  ## ruff and mypy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lint]"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## the side-by-side benchmarks
	for script in tests/benchmarks/*.py; do $(BIN)/python "$$script" || exit 1; done

resolve: setup  ## whether wheels for every supported Python can be found (nothing is installed)
	@for version in 3.11 3.12 3.13 3.14; do \
	  $(BIN)/python -m pip install --quiet --dry-run --ignore-installed --only-binary=:all: --target $(VENV)/resolve \
	    --python-version $$version -c constraints.txt $$($(BIN)/python -c 'import tomllib; \
	      print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"])') \
	  && echo "Python $$version: resolved" || echo "Python $$version: not from wheels alone"; done

clean:  ## remove what make made
	rm -rf $(VENV) demo build dist
