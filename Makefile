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
