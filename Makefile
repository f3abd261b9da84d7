# Entry points. They install what they need in the cache at first use.
CACHE ?= $(or $(SERVICEMESH_PKI_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/servicemesh-pki)
export SERVICEMESH_PKI_CACHE := $(CACHE)
# One virtual environment for each version of requirements.txt, shared by all checkouts.
VENV := $(CACHE)/venv-$(shell sha256sum requirements.txt | cut -c1-12)
# CORE=2.20 installs another ansible-core than the pinned one. It requires a Python that this ansible-core supports.
ifdef CORE
VENV := $(VENV)-$(CORE)
endif
export PATH := $(VENV)/bin:$(PATH)
.DEFAULT_GOAL := help

$(VENV)/.complete:
	@echo "Setting up the Python environment ..."
	@mkdir -p $(CACHE)
	@python3 -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --no-compile uv
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --no-deps --require-hashes -r requirements.txt
	$(if $(CORE),@$(VENV)/bin/pip install --quiet --no-deps 'ansible-core==$(CORE).*')
	@touch $@

.PHONY: venv
venv: $(VENV)/.complete  ## create the Python environment

.PHONY: lab lab-clean demo
lab: venv  ## build the parts of the lab in the cache
	@python -m lab build

lab-clean: venv  ## remove everything that the lab created
	@python -m lab clean

# FRESH=1 first removes the containers and networks of the lab. MONITORING=1 then shows the alerts, until Ctrl-C.
demo: venv  ## create a verified mesh in the lab on this machine
	$(if $(FRESH),@python -m lab fresh)
	@python -m lab up
	@ansible-playbook playbooks/site.yml -i inventories/lab $(ARGS)
	$(if $(MONITORING),@ansible-playbook playbooks/monitoring.yml -i inventories/lab && python -m lab monitor)

.PHONY: browser
browser:  ## install Chromium from Debian, for tests of the report
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# Every check and test is a session of noxfile.py. `nox --list` shows them.
STATIC := lint typing licences changelog docs prose docsite
.PHONY: static test-fast test-vault test-lab test molecule
static: venv  ## run linters, and check types, licences, documentation and prose
	@nox -s $(STATIC)

test-fast: venv  ## run the static checks and unit tests
	@nox

# VAULT=hashicorp or VAULT=<version of OpenBao> runs the tests with that product. To use a running Vault, set
# SERVICEMESH_PKI_TEST_VAULT_ADDR and SERVICEMESH_PKI_TEST_VAULT_TOKEN.
test-vault: venv browser  ## run the integration tests with a real OpenBao and a browser
	@VAULT=$(VAULT) nox -s vault

test-lab: venv  ## build the lab and run the end-to-end tests
	@nox -s lab

.PHONY: test-lab-long
test-lab-long: venv  ## run the end-to-end tests of moves to Vault, failures and removal
	@nox -s lab_long

.PHONY: chaos
chaos: venv  ## end runs of rotate_trust_anchor.yml and site.yml with SIGKILL, and check that the next run completes them
	@nox -s chaos

molecule: venv  ## run the Molecule scenarios in the lab, or only SCENARIO=name
	@nox -s molecule -- $(SCENARIO)

# `make NAME` runs the session of that name.
.PHONY: lint typing licences changelog docs prose docsite unit coverage build galaxy workflow alerts prometheus sanity ee mutation oldest flow webpki ruff
lint typing licences changelog docs prose docsite unit coverage build galaxy workflow alerts prometheus sanity ee mutation oldest flow webpki: venv
	@nox -s $@

oldest coverage: browser

# ENTRIES="unit sanity CORE=2.20" runs only these targets, with that ansible-core.
.PHONY: debian13
debian13: venv  ## run unit, Vault and sanity tests and site.yml on Debian 13
	@nox -s debian13 -- $(ENTRIES)

ruff: venv
	@ruff check
	@ruff format

# The tests in the lab mostly wait, so all others run beside them.
test: venv browser  ## run the checks and tests that CI runs, and build what they need
	@$(MAKE) --no-print-directory --jobs=2 test-beside-lab test-lab

# It has no prerequisite with a recipe: after one, make 4.3 sometimes waits for `test-lab` to end before it goes on here.
.PHONY: test-beside-lab
test-beside-lab: venv
	@nox -s $(STATIC) workflow alerts coverage
	@nox -s debian13 -- unit
	@nox -s sanity galaxy ee

.PHONY: bench requirements help
bench: venv  ## measure site.yml and the commands of the workshop
	@python -m lab up
	@python -m bench

requirements: venv  ## pin requirements.in with hashes for all supported Python versions
	@python -m uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header \
	  requirements.in -o requirements.txt

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
