# All temporary files are in .venv and .run; two clones do not affect each other.
PYTHON ?= python3
PY := .venv/bin/python
LOCAL := $(PY) -m deploy.local
# Extra arguments for pytest: make test ARGS="tests/integration -k relay"
ARGS ?=
# The Debian release and the command of make bare.
SUITE ?= trixie
COMMAND ?= make demo
# Options of make chaos; the run has a default for each.
CHAOS := $(if $(JOBS),--jobs $(JOBS)) $(if $(KILLS),--kills $(KILLS)) $(if $(SERVER_KILLS),--server-kills $(SERVER_KILLS)) \
	$(if $(PAUSES),--pauses $(PAUSES)) $(if $(MANUAL_CHANGES),--manual-changes $(MANUAL_CHANGES)) $(if $(SEED),--seed $(SEED))

# How make lock writes a file of pinned packages. In hash mode pip wants a pin for pip and setuptools too.
PINS := -q --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-options --annotation-style line --no-header \
	--generate-hashes --allow-unsafe
LOCK := .venv/bin/pip-compile $(PINS)
LOCKS := deploy/requirements

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo run stop clean test test-newer bare chaos recovery grid bench twelve explain screenshots lint check lock openapi image docs venv

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## Set up everything, play one game on real Docker, leave nothing running
	@$(LOCAL) demo

run: venv ## Run the whole service until Ctrl-C; print addresses and an example
	@$(LOCAL) run

stop: ## Stop everything that this clone runs, from another terminal
	@if [ -x $(PY) ]; then $(LOCAL) stop; else echo "  nothing to stop: .venv does not exist"; fi

clean: ## Stop, then delete data, logs and private Docker engines (.run)
	@# The program knows what exists outside .run, so a deleted .venv is set up again.
	@if [ -x $(PY) ] || [ -e .run ]; then $(MAKE) venv && $(LOCAL) clean; fi

test: venv ## Run every test on real PostgreSQL, Redis and Docker (ARGS="..." goes to pytest)
	@$(LOCAL) test $(ARGS)

test-newer: venv ## Run the acceptance and contract tests on the newest Docker, of Debian testing; root only (ARGS="...")
	@# The daemon has mounts of its own, and sees those that tests make.
	@unshare --mount --propagation shared $(LOCAL) test-newer $(ARGS)

bare: venv ## Run COMMAND="make demo" in a bare Debian SUITE=bookworm or trixie; root only, on this machine's kernel
	@$(PY) -m tests.bare "$(SUITE)" "$(COMMAND)"

chaos: venv ## Kill processes and servers while jobs run, count lost and double results (JOBS= KILLS= SERVER_KILLS= MANUAL_CHANGES= SEED=)
	@$(PY) -m tests.chaos.storm $(CHAOS)

recovery: venv ## Kill workers and leaders one at a time, print how soon others continue (KILLS= ONLY="worker leader")
	@$(PY) -m tests.chaos.recovery $(if $(KILLS),--kills $(KILLS)) $(if $(ONLY),--only $(ONLY))

grid: venv ## Break every operation at every step, write the table of docs/reliability.md
	@GRID=write $(LOCAL) test tests/chaos/grid

bench: venv ## Measure next to other products, write docs/performance.md; continues (ONLY="starts rest" ENGINE=URL FRESH=1 QUICK=1)
	@$(PYTHON) deploy/local/venv.py bench
	@$(PYTHON) deploy/local/venv.py service
	@.run/bench/venv/bin/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(ENGINE),--engine $(ENGINE)) \
		$(if $(FRESH),--fresh) $(if $(QUICK),--quick)

twelve: venv ## Break twelve games in twelve ways, write docs/twelve.md
	@TWELVE=write $(LOCAL) test tests/browser/test_twelve.py

explain: venv ## Write the table of causes in docs/explain.md from the code
	@EXPLAIN=write $(PY) -m pytest -q tests/unit/operations/explain/test_explain_page.py

screenshots: venv ## Run a scenario in a browser, write the pictures of docs/screenshots
	@SCREENSHOTS_FOLDER=docs/screenshots $(LOCAL) test tests/browser/test_screenshots.py

lint: venv ## Run linters, types, import rules and Django checks
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy .
	.venv/bin/lint-imports
	$(PY) manage.py check
	@# Without a database Django warns that it cannot compare; this checks the models only.
	$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

check: lint ## Run lint, then the unit and meta tests; needs no server
	$(PY) -m pytest -q --numprocesses=auto --dist=loadfile $(wildcard tests/unit tests/meta)

lock: venv ## Pin every package with its hashes: requirements.txt and one file per extra, from pyproject.toml
	$(LOCK) --extra embedded --extra traces --extra dev -o requirements.txt pyproject.toml
	$(LOCK) -c requirements.txt -o $(LOCKS)/runtime.txt pyproject.toml
	for extra in embedded traces dev; do \
		$(LOCK) -c requirements.txt --extra $$extra -o $(LOCKS)/$$extra.txt pyproject.toml || exit; done
	@# These two install without the dependencies of the service.
	$(PY) -m deploy.requirements cli | $(LOCK) -c requirements.txt -o $(LOCKS)/cli.txt -
	$(PY) -m deploy.requirements build sbom | $(LOCK) -c requirements.txt -o $(LOCKS)/build.txt -
	$(PY) -m deploy.requirements docs | $(LOCK) -o docs/requirements.txt -

openapi: venv ## Write docs/openapi.yaml from the code
	$(PY) manage.py spectacular --fail-on-warn --validate --file docs/openapi.yaml

image: venv ## Build the container image, write its list of components (SBOM) into .run/image (BASE=python:3.13-slim)
	@BASE="$(BASE)" $(PY) -m deploy.image

docs: ## Build the documentation as a website into .run/site
	@$(PYTHON) deploy/local/venv.py docs
	@NO_MKDOCS_2_WARNING=1 .run/docs/bin/mkdocs build --strict

venv:
	@$(PYTHON) deploy/local/venv.py
