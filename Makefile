# Set-up, demo and tests. Everything lives in .venv; nothing else on the machine is touched.
#
#   make demo                      set up, then run the whole job on the embedded demo
#   make test                      set up, then run the tests
#   make site                      the documentation as a site, in build/website/site
#   make fuzz                      200,000 random inputs to the parsers
#   make … TORCH_INDEX=URL         take PyTorch from this wheel index (for instance PyTorch's CPU index)
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_OUT ?= runs/demo

.PHONY: install demo test test-all fuzz core lint format site clean
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/autoselection demo --out $(DEMO_OUT)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -m ''

# The core alone, without PyTorch, in fresh environments of the oldest and the newest Python that can be found.
core:
	.ci/core

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz $(FUZZ)

site: $(INSTALLED)
	$(BIN)/python -m website

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis
