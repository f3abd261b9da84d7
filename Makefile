# The entry points. Everything they need is set up on first use, outside the checkout.
CACHE ?= $(or $(SERVICEMESH_PKI_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/servicemesh-pki)
export SERVICEMESH_PKI_CACHE := $(CACHE)
# One virtual environment for each set of requirements, shared by all checkouts.
VENV := $(CACHE)/venv-$(shell sha256sum requirements.txt | cut -c1-12)
# CORE=2.20 takes another ansible-core than the pinned one, where the Python at hand is new enough for it.
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
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --require-hashes -r requirements.txt
	$(if $(CORE),@$(VENV)/bin/pip install --quiet --no-deps 'ansible-core==$(CORE).*')
	@touch $@

.PHONY: venv
venv: $(VENV)/.complete  ## set up the Python environment only

.PHONY: lab lab-clean demo
lab: venv  ## build the lab's parts (kept in the cache), start nothing
	@python -m lab build

lab-clean: venv  ## remove everything that the lab made
	@python -m lab clean

# FRESH=1 starts from an empty network.
demo: venv  ## nothing to a verified mesh, on this machine alone
	$(if $(FRESH),@python -m lab fresh)
	@python -m lab up
	@ansible-playbook playbooks/site.yml -i inventories/lab $(ARGS)

.PHONY: browser
browser:  ## install the browser that looks at the report, from Debian
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# Every check and test is a session of noxfile.py; `nox --list` names them.
STATIC := lint typing licences changelog docs prose docsite
.PHONY: static test-fast test-vault test-lab test molecule
static: venv  ## linters, types, licences, documentation and its words
	@nox -s $(STATIC)

test-fast: venv  ## static checks and unit tests
	@nox

# VAULT=hashicorp or a version of OpenBao runs the tests on that one. A Vault that runs already is named by
# SERVICEMESH_PKI_TEST_VAULT_ADDR and SERVICEMESH_PKI_TEST_VAULT_TOKEN.
test-vault: venv browser  ## modules against a real OpenBao process, the report in a browser
	@VAULT=$(VAULT) nox -s vault

test-lab: venv  ## the lab and the whole flow in it
	@nox -s lab

molecule: venv  ## each role in the lab; SCENARIO=name for one
	@nox -s molecule -- $(SCENARIO)

# One session by its name: make sanity, make mutation, ...
.PHONY: lint typing licences changelog docs prose docsite unit coverage build galaxy workflow sanity ee mutation oldest flow webpki ruff
lint typing licences changelog docs prose docsite unit coverage build galaxy workflow sanity ee mutation oldest flow webpki: venv
	@nox -s $@

# ENTRIES="unit sanity CORE=2.20" runs only these entries there, with that ansible-core.
.PHONY: debian13
debian13: venv  ## unit, Vault and sanity tests and the flow, on Debian 13
	@nox -s debian13 -- $(ENTRIES)

ruff: venv
	@ruff check
	@ruff format

test: venv browser  ## the checks and tests that CI runs; builds what they need first
	@nox -s $(STATIC) workflow coverage sanity galaxy ee lab

.PHONY: bench requirements help
bench: venv  ## measured figures, beside the workshop done by hand
	@python -m lab up
	@python -m bench

requirements: venv  ## pin requirements.in with hashes, for every supported Python
	@python -m uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header \
	  requirements.in -o requirements.txt

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
