.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Everything a target needs is installed once; touching pyproject.toml or the lock installs again.
READY := .venv/.ready
ROOT := demo
TEST_PROCESSES ?= 2

.PHONY: help setup demo test lint types smoke clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install the locked packages and the project (about 5 GB, minutes)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(READY) ## write the tiny data set, train CPR on it, print its metrics
	rm -rf $(ROOT)
	$(BIN)/cpr tiny root=$(ROOT)/data
	$(BIN)/cpr train dataset=tiny dataset.root=$(ROOT)/data category=washer \
		backbone.name=resnet18 backbone.weights=random training.max_steps=40 training.batch_size=4 \
		index_cache=$(ROOT)/index_cache hydra.run.dir=$(ROOT)/run
	$(BIN)/cpr predict run=$(ROOT)/run images=$(ROOT)/data/washer/test/scratch output=$(ROOT)/predictions; test $$? -le 1

# Two processes of one thread each: a file's tests share what they set up.
test: $(READY) ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/pyright

smoke: $(READY) ## all verbs on the tiny data set; image AUROC must reach 0.9
	$(BIN)/python tests/smoke.py

clean: ## remove what the targets made, except .venv
	rm -rf $(ROOT) outputs multirun .pytest_cache .ruff_cache dist
