# Everything transient lives in .venv and .run; two clones never disturb each other.
PYTHON ?= python3
PY := .venv/bin/python
LOCAL := $(PY) -m rtmanager.local
# Extra words for pytest: make test ARGS="tests/integration -k relay"
ARGS ?=
# What make chaos is told; what is not given is the run's own default.
CHAOS := $(if $(JOBS),--jobs $(JOBS)) $(if $(KILLS),--kills $(KILLS)) $(if $(SERVER_KILLS),--server-kills $(SERVER_KILLS)) \
	$(if $(PAUSES),--pauses $(PAUSES)) $(if $(MEDDLINGS),--meddlings $(MEDDLINGS)) $(if $(SEED),--seed $(SEED))

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo run stop clean test chaos grid bench twelve screenshots check lock openapi venv

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## Set up everything, play one game on real Docker, leave nothing running
	@$(LOCAL) demo

run: venv ## Run the whole service here until Ctrl-C; prints addresses and an example
	@$(LOCAL) run

stop: ## End what this clone runs, from another terminal
	@if [ -x $(PY) ]; then $(LOCAL) stop; else echo "  nothing was ever started here"; fi

clean: ## Stop, then delete data, logs and private Docker engines (.run)
	@if [ -x $(PY) ]; then $(LOCAL) clean; else rm -rf .run; fi

test: venv ## Run every test on real PostgreSQL, Redis and Docker (ARGS="..." goes to pytest)
	@$(LOCAL) test $(ARGS)

chaos: venv ## Kill everything while jobs run, count what got lost (JOBS= KILLS= SERVER_KILLS= MEDDLINGS= SEED=)
	@$(PY) -m tests.chaos.storm $(CHAOS)

grid: venv ## Break every operation at every step, and write docs/reliability.md anew
	@GRID=write $(LOCAL) test tests/chaos/grid

bench: venv ## Measure side by side with what else there is, write docs/performance.md anew (ONLY="starts workers")
	@$(PYTHON) rtmanager/local/venv.py bench
	@$(PYTHON) rtmanager/local/venv.py service
	@.run/bench/venv/bin/python -m bench $(if $(ONLY),--only $(ONLY))

twelve: venv ## Break twelve games in twelve ways, and write docs/twelve.md anew
	@TWELVE=write $(LOCAL) test tests/browser/test_twelve.py

screenshots: venv ## Play a story in a browser, and take the pictures of docs/screenshots anew
	@SCREENSHOTS_FOLDER=docs/screenshots $(LOCAL) test tests/browser/test_screenshots.py

check: venv ## Lint, types, import rules, Django checks and the unit tests; needs no server
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy .
	.venv/bin/lint-imports
	$(PY) manage.py check
	@# Without a database Django warns that it cannot compare; the models are what is checked.
	$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PY) -m pytest -q $(wildcard tests/unit tests/meta)

lock: venv ## Pin requirements.txt anew from pyproject.toml
	.venv/bin/pip-compile -q --all-extras --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-options --annotation-style line --no-header -o requirements.txt pyproject.toml

openapi: venv ## Write docs/openapi.yaml anew from the code
	$(PY) manage.py spectacular --fail-on-warn --validate --file docs/openapi.yaml

venv:
	@$(PYTHON) rtmanager/local/venv.py
