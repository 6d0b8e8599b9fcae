# Needs Python 3.11 or later, make and git. `make` alone lists the targets.
PYTHON ?= python3
ARGS ?=
VENV = .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
QUIETLY = --quiet --disable-pip-version-check

# A tool's own environment: a profile that a person has lying about must not decide a check, and a `make`
# that a tool runs (the layer's) must not take this one's flags for its own.
TOOL = env -u AWS_PROFILE -u MAKEFLAGS -u MFLAGS -u MAKELEVEL AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 \
       PATH="$$PWD/$(BIN):$$PATH" PYTHON=python

# The checks do not need each other, nor do the downloads: two of them at a time.
MAKEFLAGS += -j2
# A stack starts hundreds of Python processes. What one of them has compiled, the next one need not compile again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = help
.PHONY: help setup demo up down test check style types templates pages console browser screenshots whole hostile audit contract reference calls reliability soak mutants bench build upgrade

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# What checks the console: Biome for its files, and axe in the tests' browser.
WEB = .seedance/web

setup: $(READY) ## make .venv with everything in it; done again only when the pins change

$(READY): requirements.txt pyproject.toml local/aws-cli.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or later is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1 | tail -n 1)." \
	         "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# --no-deps: the pins are complete (tests/infrastructure/test_pins.py), and with hashes pip stumbles over extras.
	$(BIN)/python -m pip install $(QUIETLY) --require-hashes --no-deps -r requirements.txt
	@# Built with the setuptools that is pinned there, not with one fetched for the purpose. It warns of any folder that has
	@# the name of a package.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install $(QUIETLY) --no-deps --no-build-isolation -e .
	@cp local/aws-cli.sh $(BIN)/aws
	@touch $@

demo: $(READY) ## image in, video out, on this machine (2 min the first time)
	@$(BIN)/seedance demo $(ARGS)

up: $(READY) ## the same stack, kept running (ARGS="--port 5000")
	@$(BIN)/seedance up $(ARGS)

down: $(READY) ## stop it
	@$(BIN)/seedance down

# Tests with the stack wait more than they compute, so three stacks fit on two cores. They run after the other tests: a
# function that must wait for a core is late, and lateness is judged.
test: check browser ## every check that this machine can run
	$(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal -m "not e2e"
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/e2e

check: style types templates pages console ## style, types, templates, generated pages, the console's files

style: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

templates: $(READY)
	$(BIN)/cfn-lint template.yaml
	$(TOOL) $(BIN)/sam validate --lint

pages: $(READY)
	$(BIN)/cog --check --check-fail-msg="run: make reference" -I docs docs/reference.md docs/architecture.md docs/aws-facts.md
	$(BIN)/python docs/openapi.py --check

console: $(READY) $(WEB)/.ready
	PATH="$$PWD/$(BIN):$$PATH" $(WEB)/node_modules/.bin/biome ci --config-path=tests/web --error-on-warnings web

$(WEB)/.ready: tests/web/package-lock.json | $(READY)
	rm -rf $(WEB)
	mkdir -p $(WEB)
	cp tests/web/package.json tests/web/package-lock.json $(WEB)/
	PATH="$$PWD/$(BIN):$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $(WEB)
	@touch $@

# Chromium comes as a file in an npm package, for Linux on x86-64. Elsewhere the tests use an installed Chrome.
BROWSER = .seedance/browser
browser: $(BROWSER)/.ready $(WEB)/.ready ## unpack the tests' browser (210 MB)

$(BROWSER)/.ready: tests/chromium/package-lock.json tests/chromium/unpack.mjs | $(READY)
	rm -rf $(BROWSER)
	mkdir -p $(BROWSER)
	if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	    export PATH="$$PWD/$(BIN):$$PATH"; \
	    cp tests/chromium/* $(BROWSER)/ && \
	    npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $(BROWSER) && \
	    TMPDIR="$$PWD/$(BROWSER)" node $(BROWSER)/unpack.mjs && \
	    rm -rf $(BROWSER)/node_modules; \
	fi
	@touch $@

screenshots: $(READY) browser ## pictures of the console, into docs/console (about 5 min)
	$(BIN)/python -m tests.screenshots

whole: $(READY) browser ## what `make test` samples or leaves out, into docs/left-out.md
	$(BIN)/python -m tests.whole

hostile: $(READY) browser ## hostile inputs, answers, pages and sync programs, into docs/reliability.md (needs rclone, s3cmd)
	$(BIN)/python -m tests.hostile

AUDIT = .seedance/audit
audit: build $(AUDIT)/.ready ## checkov, an ASL validator, known vulnerabilities of the pinned packages
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m tests.audit $(AUDIT)

$(AUDIT)/.ready: tests/audit/requirements.txt tests/audit/package-lock.json
	rm -rf $(AUDIT)
	$(BIN)/python -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install $(QUIETLY) --require-hashes -r tests/audit/requirements.txt
	cp tests/audit/package.json tests/audit/package-lock.json $(AUDIT)/
	PATH="$$PWD/$(BIN):$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $(AUDIT)
	@touch $@

CONTRACT = .seedance/contract
contract: $(READY) $(CONTRACT)/.ready ## schemathesis against the API of a local stack, into docs/reliability.md (ARGS for `st run`)
	$(BIN)/python -m tests.contract $(CONTRACT) $(ARGS)

$(CONTRACT)/.ready: tests/contract/requirements.txt
	rm -rf $(CONTRACT)
	$(BIN)/python -m venv $(CONTRACT)
	$(CONTRACT)/bin/python -m pip install $(QUIETLY) --require-hashes -r tests/contract/requirements.txt
	@touch $@

reference: $(READY) ## write the tables of docs/, the API's description and the events' states from the code
	$(BIN)/cog -r -I docs docs/reference.md docs/architecture.md docs/aws-facts.md
	$(BIN)/python docs/openapi.py
	$(BIN)/python docs/event_schema.py

calls: $(READY) ## write the list of calls to AWS, by function, that the policies are compared with
	$(BIN)/python tests/crash/calls.py

reliability: $(READY) ## the whole crash matrix, into docs/reliability.md
	$(BIN)/python tests/crash/matrix.py

soak: $(READY) ## 300 uploads with faults, kills and a restart, into docs/reliability-soak.md (about 5 min)
	$(BIN)/python -m tests.soak.run --uploads 300 --output docs/reliability-soak.md

# mutmut has an environment of its own, which sees .venv's packages behind its own: it wants a newer click than
# aws-sam-cli allows.
MUTMUT = .seedance/mutmut-3.8.1
mutants: $(READY) $(MUTMUT)/.ready ## a mutation run of six modules, into docs/mutants.md (about 100 min; ARGS="pacer poll")
	PATH="$$PWD/$(MUTMUT)/bin:$$PATH" $(BIN)/python -m tests.mutants $(ARGS)

$(MUTMUT)/.ready: requirements.txt
	rm -rf $(MUTMUT)
	$(BIN)/python -m venv $(MUTMUT)
	sed -n 's/^\([^ #\\]*==[^ \\]*\).*/\1/p' requirements.txt | grep -v '^click==' > $(MUTMUT)/constraints.txt
	$(MUTMUT)/bin/python -m pip install $(QUIETLY) -c $(MUTMUT)/constraints.txt mutmut==3.8.1
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > "$$($(MUTMUT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/behind.pth"
	@touch $@

bench: $(READY) ## every benchmark against its peers, into docs/benchmarks.md (ARGS=cold_start for one)
	$(BIN)/python -m benchmarks $(ARGS)

build: $(READY) ## build for AWS; `.venv/bin/sam deploy --guided` comes next
	$(TOOL) $(BIN)/sam build

# In an environment of its own, so that a failure leaves the working one alone. --allow-unsafe also pins pip and
# setuptools, which pip-tools needs: with hashes, everything must be pinned.
NEXT = .seedance/upgrade
PINNED = --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
         --no-emit-trusted-host --no-header
upgrade: ## pin the newest versions of everything, for the laptop, the functions, the audit and schemathesis
	rm -rf $(NEXT)
	$(PYTHON) -m venv $(NEXT)
	$(NEXT)/bin/python -m pip install --quiet pip-tools
	$(NEXT)/bin/pip-compile $(PINNED) --extra dev -o $(NEXT)/requirements.txt pyproject.toml
	mv $(NEXT)/requirements.txt requirements.txt
	@# Constrained by the line above: the functions ship exactly what the tests ran with.
	$(NEXT)/bin/pip-compile $(PINNED) -c requirements.txt -o layers/common/requirements.txt layers/common/requirements.in
	$(NEXT)/bin/pip-compile $(PINNED) -o tests/audit/requirements.txt tests/audit/requirements.in
	$(NEXT)/bin/pip-compile $(PINNED) -o tests/contract/requirements.txt tests/contract/requirements.in
	rm -rf $(NEXT)
	$(MAKE) setup
