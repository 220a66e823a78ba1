# make run        install into .venv and run the default experiment; ARGS="lora.rank=4" changes it
# make test       install into .venv, check style and types, run the quick tests
# make test-all   the same with the slow tests too: real weights, minutes long
# make bench      training speed against other trainers (installs them), programs a second
# make plans      the pages in docs/plans, compiled anew for machines that are not here
# make clean      remove .venv, caches and build files; runs/ stays

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help run test test-all lint bench plans clean

help:
	@sed -n 's/^# make/make/p' Makefile

run: $(VENV)/.installed
	$(BIN)/python launch.py $(ARGS)

test: lint
	$(BIN)/pytest -m "not slow"

test-all: lint
	$(BIN)/pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-peers
	$(BIN)/python -m bench.sft
	$(BIN)/python -m bench.grpo
	$(BIN)/python -m bench.sandbox
	$(BIN)/python -m bench.memory

PLAN = $(BIN)/python launch.py mode=plan

plans: $(VENV)/.installed-plan
	$(PLAN) experiment=glaive_sft plan.save=docs/plans/glaive_sft_gemma2_2b.md
	$(PLAN) experiment=glaive_sft model=gemma3_1b_it plan.save=docs/plans/glaive_sft_gemma3_1b.md
	$(PLAN) experiment=gsm8k_grpo model=gemma2_2b_it plan.save=docs/plans/gsm8k_grpo_gemma2_2b.md
	$(PLAN) experiment=gsm8k_grpo plan.save=docs/plans/gsm8k_grpo_gemma3_1b.md
	$(PLAN) experiment=glaive_sft_home plan.save=docs/plans/glaive_sft_home_gemma3_1b.md
	$(PLAN) experiment=glaive_sft_home model=gemma2_2b_it plan.save=docs/plans/glaive_sft_home_gemma2_2b.md
	$(PLAN) experiment=gsm8k_grpo_home plan.save=docs/plans/gsm8k_grpo_home_gemma3_1b.md
	$(PLAN) experiment=gsm8k_grpo_home model=gemma2_2b_it plan.save=docs/plans/gsm8k_grpo_home_gemma2_2b.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that this set of dependencies is installed as pyproject.toml has it now.
$(VENV)/.installed: EXTRA =
$(VENV)/.installed-dev: EXTRA = [dev]
$(VENV)/.installed-peers: EXTRA = [peers,plan]
$(VENV)/.installed-plan: EXTRA = [plan]

$(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-peers $(VENV)/.installed-plan: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
	    "reasoning_lab needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d. " % v + \
	    "Name one that you have: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Installing .$(EXTRA) into $(VENV): 2 GB, a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".$(EXTRA)"
	@touch $@
