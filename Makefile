# Art32. `make help` says what each target does.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
# One pytest process for each processor; `make test JOBS=1 TESTS=tests/unit` runs some, one by one.
JOBS ?= auto
TESTS ?=
SECONDS ?= 600
SHELL_SCRIPTS = $(shell git grep -lE '^\#!/bin/(ba)?sh' -- . ':!*.md')
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--exclude-newer P7D --custom-compile-command 'make lock'

.PHONY: help demo rehearse plan test test-all check format docs lock bench fuzz memcheck package package-test release vmtest wheel clean environment packages

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Back up, verify and restore generated data with throw-away keys and servers.
	@scripts/system-packages demo
	@scripts/environment agent
	$(BIN)/python -m demo

plan: ## Show a stack before it is applied: STACK=prod [AGAINST=preview.json] [OUTPUT=plan.html].
	@: "$${STACK:?say which stack: make plan STACK=prod}"
	@scripts/environment dev
	@$(BIN)/python -m infra.plan --stack "$$STACK" $${AGAINST:+--against "$$AGAINST"} \
		$${OUTPUT:+--output "$$OUTPUT"} $${SAVE:+--save "$$SAVE"}

test: ## Install what the tests need and run all of them.
	@scripts/system-packages test
	@scripts/environment dev
	@scripts/environment checkov
	@scripts/kernel
	$(BIN)/python -m pytest -n $(JOBS) --durations 10 $(TESTS)

test-all: ## The same and what is long: every combination of the infrastructure.
	@scripts/system-packages test
	@scripts/environment dev
	@scripts/environment checkov
	@scripts/kernel
	$(BIN)/python -m pytest -n $(JOBS) -m 'exhaustive or not exhaustive' --durations 10 $(TESTS)

check: ## Format, lint, types, import rules, shell scripts, generated pages: all must be clean.
	@scripts/environment dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck $(SHELL_SCRIPTS)
	$(BIN)/python scripts/generate_docs.py --check

format: ## Format the code and mend what ruff can mend.
	@scripts/environment dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: ## Write the generated pages under docs/.
	@scripts/environment dev
	$(BIN)/python scripts/generate_docs.py

rehearse: ## Destroy a PostgreSQL server under load and build it again from the store (REHEARSE='--help').
	@scripts/system-packages rehearse
	@scripts/environment agent
	$(BIN)/python -m rehearse $(REHEARSE)

lock: ## Pin the newest versions that are at least a week old, with hashes.
	@scripts/environment dev
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml -o requirements/agent.txt
	$(COMPILE) pyproject.toml --extra s3 -c requirements/agent.txt -o requirements/agent-s3.txt
	$(COMPILE) pyproject.toml --extra s3 --extra logs --extra health --extra report -c requirements/agent-s3.txt -o requirements/agent-host.txt
	$(COMPILE) pyproject.toml --extra infra --extra aws -c requirements/agent-host.txt -o requirements/infra.txt
	$(COMPILE) pyproject.toml --extra s3 --extra logs --extra health --extra report --extra infra --extra aws --extra dev -c requirements/infra.txt -o requirements/dev.txt
	$(COMPILE) requirements/checkov.in -o requirements/checkov.txt

bench: ## Measure beside a bare pipeline, restic, borg and duplicity (long; BENCH='--help').
	@scripts/system-packages bench
	@scripts/environment dev
	@scripts/kernel
	$(BIN)/python -m tests.bench $(BENCH)

fuzz: ## Hold the scrubbing kernel to its reference for long (SECONDS=600).
	@scripts/system-packages test
	@scripts/environment dev
	@scripts/kernel
	$(BIN)/python -m tests.fuzz $(SECONDS)

memcheck: ## Run the kernel under the address sanitizer and valgrind.
	@scripts/system-packages memcheck
	@scripts/environment dev
	@scripts/kernel
	$(BIN)/python -m tests.fuzz.memory

package: ## Build dist/art32_VERSION_ARCHITECTURE.deb (ARCHITECTURE=arm64).
	@scripts/environment dev
	@scripts/package $(ARCHITECTURE)

package-test: ## Build the package; lintian, installation, upgrade and removal in a copy of this machine.
	@scripts/system-packages package
	@scripts/environment dev
	$(BIN)/python -m pytest -m exhaustive tests/package

release: ## Build the package and publish a release: STACK=prod RELEASE=1.0.0 FILES='...' [ARCHITECTURE=arm64] [RESTORER=...].
	@: "$${STACK:?say which stack}" "$${RELEASE:?say its name}"
	@scripts/environment dev
	@package=$$(scripts/package "$${ARCHITECTURE:-arm64}" | tail -n 1) && \
		$(BIN)/python -m infra.publish release "$$RELEASE" --stack "$$STACK" "$$package" $(FILES) \
			$${RESTORER:+--restorer "$$RESTORER"}

vmtest: ## Boot Debian in QEMU, install the package, run every unit (long; as root).
	@scripts/system-packages vm
	@scripts/environment dev
	$(BIN)/python -m tests.vm $(VMTEST)
	$(BIN)/python -m tests.vm --first-boot $(VMTEST)

wheel: ## Build the optional wheel art32-kernel into dist/.
	@scripts/environment dev
	@scripts/kernel wheel

clean: ## Remove the environment, caches and what demo and bench left.
	rm -rf .venv .venv-checkov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build dist art32.egg-info demo-output bench-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
