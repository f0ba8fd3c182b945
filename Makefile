# make dry-run [DATA=folder] [TASK=name]: the main job. make test [SLOW=1]: lint, types, tests. make bench [DATA=folder]: how fast.
# Each sets itself up in .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check

.PHONY: dry-run test lint bench clean
.DELETE_ON_ERROR:

dry-run: $(VENV)/command
	$(PY) build_kernel.py dry-run $(if $(TASK),--task "$(TASK)") $(if $(DATA),"$(DATA)")

test: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(if $(SLOW),-m "slow or not slow")

# half an hour to an hour, and 7 GB of disk in the temporary folder
bench: $(VENV)/ready-dev
	PYTHONPATH=src:demo $(PY) -m benchmarks.bench $(if $(DATA),--data "$(DATA)") --out benchmarks/RESULTS.md

lint: $(VENV)/ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# A machine without a desktop lacks the libGL that opencv-python loads; the headless build is the same without it.
$(VENV)/ready: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); name another: make PYTHON=python3.12 ..."; exit 1; }
	@[ ! -L $(VENV) ] || { echo "error: $(VENV) is a link; set up anew, all in the folder that it points to would be lost"; exit 1; }
	@echo "set-up: $(VENV), some 3 GB, once; one to five minutes with a good connection"
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -r requirements.txt
	@$(PY) -c 'import cv2' 2>/dev/null || { $(PIP) uninstall -y opencv-python && \
		$(PIP) install -c constraints.txt "$$(sed -n 's/^opencv-python/opencv-python-headless/p' requirements.txt)"; }
	@touch $@

# The command multihead; setuptools, which builds it, comes with tensorflow.
$(VENV)/command: $(VENV)/ready pyproject.toml
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-dev: $(VENV)/command requirements-dev.txt requirements-scale.txt requirements-no-deps.txt requirements-old-client.txt
	$(PIP) install -r requirements-dev.txt
	$(PIP) install --no-deps -r requirements-no-deps.txt
	$(PY) -m venv --clear $(VENV)/old-client
	$(VENV)/old-client/bin/python -m pip --disable-pip-version-check install -q -r requirements-old-client.txt
	@touch $@

clean:
	rm -rf $(VENV) dry-run kernel/*/*_kernel.py kernel/*/*_kernel.ipynb inspect.html src/*.egg-info
