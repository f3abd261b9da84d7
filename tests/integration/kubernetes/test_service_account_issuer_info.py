# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real API server, which signs tokens itself. Its CA's ConfigMap is ours: no controller runs."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from forwarder_standin import UNRESPONSIVE
from support.plays import ROOT_CA, publish_root_ca

from ansible_collections.servicemesh.pki.plugins.modules import service_account_issuer_info


@pytest.fixture
def ask(kubernetes, forwarder, capsys):
    publish_root_ca(kubernetes, "the CA")

    def call() -> dict:
        with patch_module_args({"kubeconfig": str(forwarder.kubeconfig)}), pytest.raises(SystemExit):
            service_account_issuer_info.main()
        return json.loads(capsys.readouterr().out)

    yield call
    kubernetes.call("DELETE", ROOT_CA)


def test_issuer_keys_and_ca_certificate(ask, kubernetes):
    answer = ask()
    assert answer["issuer"] == "https://test"  # as the API server was started
    assert answer["public_keys"] == [kubernetes.token_key]
    assert (answer["ca_certificate"], answer["changed"]) == ("the CA", False)
    assert [url.rpartition("/openid")[2] for url in answer["jwks_urls"]] == ["/v1/jwks"]
    assert len(answer["key_ids"]) == 1 and answer["ignored_keys"] == []


@pytest.mark.parametrize("path", ["/openid/v1/jwks", "/.well-known/openid-configuration"])
def test_unresponsive_api_server_is_unreachable(ask, forwarder, monkeypatch, path):
    monkeypatch.setattr(service_account_issuer_info, "REQUEST_TIMEOUT", 1)
    forwarder.fail(path, UNRESPONSIVE, times=1)
    assert ask()["code"] == "unreachable"
