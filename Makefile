# The entry points. Everything they need is set up on first use, outside the checkout.
CACHE ?= $(or $(SERVICEMESH_PKI_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/servicemesh-pki)
export SERVICEMESH_PKI_CACHE := $(CACHE)
# One virtual environment for each set of requirements, shared by all checkouts.
VENV := $(CACHE)/venv-$(shell sha256sum requirements.txt | cut -c1-12)
export PATH := $(VENV)/bin:$(PATH)
.DEFAULT_GOAL := help

$(VENV)/.complete:
	@echo "Setting up the Python environment ..."
	@mkdir -p $(CACHE)
	@python3 -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet --require-hashes -r requirements.txt
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

.PHONY: test test-fast test-vault test-lab static
static: venv  ## linters only
	@ruff check
	@ruff format --check
	@yamllint --strict .
	@ansible-lint --offline -q

test-fast: static  ## static checks and unit tests
	@pytest tests/unit

# VAULT=hashicorp or a version of OpenBao runs the tests on that one. A Vault that runs already is named by
# SERVICEMESH_PKI_TEST_VAULT_ADDR and SERVICEMESH_PKI_TEST_VAULT_TOKEN.
test-vault: venv browser  ## modules against a real OpenBao process, the report in a browser
	@program=$(if $(VAULT),$$(python tests/integration/vault/products.py $(VAULT))) && \
	  SERVICEMESH_PKI_TEST_VAULT_PROGRAM=$$program pytest tests/integration

test-lab: venv  ## the lab and the whole flow in it
	@python -m lab up
	@pytest tests/lab

test: static browser  ## everything
	@python -m lab up
	@pytest tests

.PHONY: bench requirements help
bench: venv  ## measured figures, beside the workshop done by hand
	@python -m lab up
	@python -m bench

requirements: venv  ## pin requirements.in with hashes
	@pip install --quiet uv
	@uv pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url --no-header \
	  requirements.in -o requirements.txt

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
