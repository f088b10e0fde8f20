# `make` alone says what there is. Python 3.11 or 3.12 is all that has to be installed; uv is used where it is found.

SHELL := bash
VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON := $(PYTHON)
UV := $(shell command -v uv 2>/dev/null)

BIN := $(VENV)/bin
DIARIST := $(BIN)/diarist
PLAIN := $(VENV)/installed-plain
PROXY := $(VENV)/installed-proxy
DEV := $(VENV)/installed-dev
CODE := packages model tests tools benchmarks
DEMO := build/demo
DEMO_FORMATS := json,srt,vtt,txt,rttm,seglst,html

# What keeps the libraries from the network while the tests run.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PIP_NO_INDEX=1 PYANNOTE_METRICS_ENABLED=0

# The suites of real processes race the clock of a busy machine: of these, a test that fails is tried once more, and
# what needed that is printed, with why. The other tests are not tried again.
PROCESSES := tests/test_truss_server.py tests/test_cli.py
PROXY_TESTS := $(wildcard tests/test_proxy_*.py)
SECOND_TRY := --reruns 1 --rerun-show-tracebacks -raR

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo proxy test check fix models golden lock clean

help: ## say what there is
	@echo "diarist: who said what, when. Two commands do it all:"
	@echo "  make demo    install, fetch the weights once, transcribe a call between two people"
	@echo "  make test    everything that is checked, offline once it is installed"
	@echo
	@echo "All targets:"
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'
	@echo
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV)"

demo: $(PLAIN) ## transcribe the sample call into build/demo, and print it
	@$(DIARIST) models fetch > /dev/null
	@$(DIARIST) transcribe "$$($(DIARIST) models fetch sample)/sample.wav" -f $(DEMO_FORMATS) -o $(DEMO)
	@echo
	@cat $(DEMO)/sample.txt
	@echo
	@echo "Open $(DEMO)/sample.html to hear it. Your own recording: $(DIARIST) transcribe FILE"

proxy: $(PROXY) ## install the proxy for Label Studio and the embedded weights: docs/label-studio.md
	@$(DIARIST) models fetch > /dev/null
	@echo "$(DIARIST) serve"

test: check models truss-env ## check, then the whole suite, with the network forbidden
	@$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
		$(addprefix --ignore=,$(PROCESSES) $(PROXY_TESTS)) # a core for each of two; the longest file is not the last
	@$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SECOND_TRY) -n 2 --dist loadfile $(PROCESSES)
	@$(OFFLINE) $(BIN)/python -m pytest $(SECOND_TRY) -n 3 --dist loadfile $(PROXY_TESTS) # they wait more than they work

check: $(DEV) ## formatter, linter and strict types, changing nothing
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy

fix: $(DEV) ## format, and mend what the linter can
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

golden: $(DEV) ## rewrite the expected outputs of the formats; read the diff before it is committed
	@GOLDEN=write $(BIN)/python -m pytest -q tests/test_formats.py

models: $(PLAIN) ## fetch the weights that are not here yet, and those that only tests use
	@$(DIARIST) models fetch --tests > /dev/null

lock: ## compile the requirements anew from pyproject.toml and requirements-dev.in (asks the package index)
	@$(if $(UV),,echo "make lock needs uv" >&2; exit 1)
	$(COMPILE) pyproject.toml --extra whisperx --extra proxy requirements-dev.in -o requirements-dev.txt
	$(COMPILE) pyproject.toml -c requirements-dev.txt -o requirements.txt
	$(COMPILE) pyproject.toml --extra proxy -c requirements-dev.txt -o requirements-proxy.txt
	$(COMPILE) requirements-label-studio.in -o requirements-label-studio.txt

# For every platform and both Pythons; without the addresses of any index, which are the installer's business.
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links --no-annotate

clean: ## remove what was built; environments (.venv*) and fetched weights stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Environments. A stamp says what is installed, so that a second run asks no index.

$(BIN)/python:
	@$(if $(PYTHON),,echo "Python 3.11 or 3.12 is needed, and none was found: install one, or say make PYTHON=/path/to/python" >&2; exit 1)
	@$(PYTHON) -c '$(SUPPORTED)' \
		|| { echo "$(PYTHON) is not Python 3.11 or 3.12, which are supported: say make PYTHON=/path/to/one" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(if $(UV),uv venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

$(PLAIN): requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing $$(grep -c '==' requirements.txt) pinned packages into $(VENV) (0.7 GB; no torch)"
	@$(call install,--require-hashes -r requirements.txt)
	@$(call install,--no-deps -e .)
	@touch $@

$(PROXY): requirements-proxy.txt $(PLAIN)
	@echo "installing the proxy and label-studio-sdk into $(VENV) (0.5 GB)"
	@$(call install,--require-hashes -r requirements-proxy.txt)
	@touch $@

$(DEV): requirements-dev.txt $(PLAIN)
	@echo "installing torch, whisperx, pyannote.audio and the tools of the tests into $(VENV) (7 GB; two to four minutes)"
	@$(call install,--require-hashes -r requirements-dev.txt)
	@touch $@

# uv is quick and quiet; pip shows a line for each package that it downloads.
ifdef UV
install = uv pip install -q --python $(BIN)/python $(1)
else
install = set -o pipefail; PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check $(1) \
	| awk '/^ *(Downloading|Using cached) / { sub(/^ */, "  "); print; fflush() }'
endif

-include make/*.mk
