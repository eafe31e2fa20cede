# make demo : install into .venv and render the demo scenario with the tiny world
# make test : lint, types, tests, and one scenario played from the built wheel in a clean environment
# make install : everything into .venv, without the demo and the tests
# make clean : remove .venv, build and out
# Needs Python 3.11-3.13 with venv, make and git; nothing has to be installed beforehand.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CLEAN  := build/clean-venv
PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11; do \
  $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && echo $$python && break; done)

.NOTPARALLEL:
.PHONY: demo test install lint types unit wheel wheel-test clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11-3.13 with venv found; install one (python3-venv on Debian) or set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[viewer,hub,quant,rl,dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/longlive run demo --out out/demo
	@printf 'video: %s\nsheet: %s\nlog:   %s\n' out/demo/*.mp4 out/demo/*.png out/demo/*.jsonl

test: lint types unit wheel-test

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	MYPY_NUM_WORKERS=2 $(BIN)/mypy --strict longlive_env agents scenarios

# A process for each core, and a thread for each process: small models gain little from more threads.
# Modules go in the order of the tree: by their number of tests, a slow one with few would be left alone at the end.
unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadscope --no-loadscope-reorder

# build/lib keeps modules that were since deleted, so a wheel starts without it.
wheel: $(STAMP)
	rm -rf build/lib build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .

$(CLEAN)/.installed: pyproject.toml constraints.txt | wheel
	$(PYTHON) -m venv --clear $(CLEAN)
	$(CLEAN)/bin/python -m pip install --quiet -c constraints.txt build/wheel/*.whl
	@touch $@

# Runs inside the clean environment's own folder, so that nothing can come from the checkout.
wheel-test: wheel $(CLEAN)/.installed
	$(CLEAN)/bin/python -m pip install --quiet --force-reinstall --no-deps build/wheel/*.whl
	cd $(CLEAN) && env -u PYTHONPATH bin/python -c 'import sys, longlive_env as package; \
	  assert package.__file__.startswith(sys.prefix), package.__file__'
	cd $(CLEAN) && env -u PYTHONPATH bin/longlive run short --out run

clean:
	rm -rf $(VENV) build out *.egg-info
