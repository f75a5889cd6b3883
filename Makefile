# make test | make demo | make check | make golden     (everything runs in .venv, created on first use)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install test demo check golden clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements-detectron2.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[suite,detection,fast-coco,onnx,dev]'
	@# Detectron2 has no release on PyPI that pip accepts for this Python; one that is already there is left alone.
	$(BIN)/python -c 'import detectron2' 2>/dev/null || \
	  $(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --require-hashes --only-binary=:all: \
	    --python-version 3.10 --implementation cp --abi none -r requirements-detectron2.txt \
	    --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	touch $(STAMP)

test: install
	$(BIN)/python -m pytest

demo: install
	$(BIN)/python tools/demo.py

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

golden: install
	REWRITE_GOLDEN=1 $(BIN)/python -m pytest -k golden

clean:
	rm -rf $(VENV) .demo
