# make demo       train the UR10 and write the run's folder       (MINUTES=…, OUT=…)
# make test       lint and all four tiers of tests               (BLENDER=… for the real-Blender tier)
# make extension  the installable zips, in dist/
# make lint       ruff and mypy
# make docs       the documents as a site, in build/site
#
# Each does its own set-up in .venv (docs: in build/docs-venv) on a fresh clone. PYTHON=… names another Python 3.11.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
DOCS := build/docs-venv

.PHONY: demo test lint test-pure test-wheel test-real test-fuzz extension docs
.NOTPARALLEL:

demo: $(VENV)/.installed
	@$(BIN)/robot-keypoints demo $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUT),--out "$(OUT)")

test: lint test-pure test-wheel test-real test-fuzz

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p robot_keypoints.core -p robot_keypoints.addon -p robot_keypoints.trainer
	@# The rest are scripts, which find one another in their own folders.
	MYPYPATH=$(VENV)/typing:benchmarks:examples:tools:tests/support $(BIN)/mypy --follow-imports=silent --explicit-package-bases launch.py $(wildcard benchmarks/*.py examples/*.py tools/*.py)

# The tiers run in processes of their own: importing bpy changes a process for good.
test-pure: $(VENV)/.installed
	$(BIN)/python -m pytest tests/pure

test-wheel: $(VENV)/.installed
	$(BIN)/python -m pytest tests/wheel

test-real: $(VENV)/.installed
	$(BIN)/python -m pytest tests/real

# Two minutes of damaged inputs, other ones each time: FUZZ_SEED=… repeats them, FUZZ_SECONDS=… takes longer.
test-fuzz: $(VENV)/.installed
	$(BIN)/python -m pytest tests/fuzz

extension: $(BIN)/python
	@$(BIN)/python tools/build_extension.py

docs: $(DOCS)/.installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict
	@echo "the site is in build/site: open build/site/index.html"

$(DOCS)/.installed: pyproject.toml
	"$(or $(PYTHON),python3)" -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet 'pip>=25.1'
	$(DOCS)/bin/python -m pip install --quiet --group docs
	@touch $@

$(VENV)/.installed: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet 'pip>=24'
	$(BIN)/python -m pip install --editable '.[trainer,bpy,demo,test]'
	@# mypy needs to find the checkout under the package's name, whatever the folder is called.
	@mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/robot_keypoints
	@touch $@

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "Python 3.11 is needed (the bpy wheel has no other): install python3.11, or name one with PYTHON=/path/to/python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
