# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""linkerd_upgrade_manifest with the real CLI and a real API server with the values of an installed Linkerd.

The oracle is `linkerd upgrade`, as a user runs it before and after the move to an external issuer.
"""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import timedelta

import kubernetes_server
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from support.issuer_cases import ISSUER, ROOT, create, issuer_of, now, secret_data

from ansible_collections.servicemesh.pki.plugins.modules import linkerd_upgrade_manifest

OVERRIDES = "linkerd-config-overrides"
SECRETS = "/api/v1/namespaces/linkerd/secrets"
EXTERNAL = {"identity.externalCA": "true", "identity.issuer.scheme": "kubernetes.io/tls"}
EXPIRED_ROOT = create("root", end=now - timedelta(hours=1))
ISSUERS = {"valid": (ISSUER, ROOT), "expired": (issuer_of(EXPIRED_ROOT, end=now - timedelta(hours=1)), EXPIRED_ROOT)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, linkerd):
    """An API server with Linkerd's kinds."""
    for api in kubernetes_server.start(tmp_path_factory.mktemp("linkerd")):
        command = (linkerd, "install", "--crds", "--ignore-cluster", f"--kubeconfig={api.kubeconfig}")
        for kind in yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True).stdout):
            api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind)
        api.namespace("linkerd")
        yield api


@pytest.fixture
def installed(cluster, request):
    """The values that the CLI stores when it installs Linkerd with an issuer, and the issuer of cert-manager."""
    issuer, root = ISSUERS[request.param]
    tls = {"crtPEM": issuer.pem, "keyPEM": issuer.key_pem.decode()}
    values = {"identityTrustAnchorsPEM": root.pem, "identity": {"issuer": {"tls": tls}}, "controllerLogLevel": "debug"}
    stored = {"metadata": {"name": OVERRIDES}, "stringData": {OVERRIDES: yaml.safe_dump(values)}}
    cluster.call("POST", SECRETS, stored)
    new = {"type": "kubernetes.io/tls", "data": secret_data(ISSUER, ROOT.pem)}
    cluster.call("POST", SECRETS, {"metadata": {"name": "linkerd-identity-issuer"}, **new})
    yield values
    for name in (OVERRIDES, "linkerd-identity-issuer"):
        cluster.call("DELETE", f"{SECRETS}/{name}")


@pytest.fixture
def render(cluster, linkerd, capsys):
    def call(**values: str) -> dict:
        options = {"linkerd_path": str(linkerd), "kubeconfig": str(cluster.kubeconfig), "values": values}
        with patch_module_args(options), pytest.raises(SystemExit):
            linkerd_upgrade_manifest.main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def upgrade(cluster, linkerd):
    def call() -> subprocess.CompletedProcess:
        command = (linkerd, "upgrade", f"--kubeconfig={cluster.kubeconfig}")
        return subprocess.run(command, check=False, capture_output=True, text=True)

    return call


def stored(manifest: str) -> dict:
    """The values that a manifest stores for the next upgrade."""
    (secret,) = (each for each in yaml.safe_load_all(manifest) if each and each["metadata"]["name"] == OVERRIDES)
    return {"metadata": {"name": OVERRIDES}, "data": secret["data"]}


@pytest.mark.parametrize("installed", ISSUERS, indirect=True)
def test_an_issuer_of_the_cli_is_removed_also_when_it_has_expired(installed, cluster, render, upgrade, request):
    before = upgrade()
    assert (before.returncode == 0) == (request.node.callspec.params["installed"] == "valid"), before.stderr
    rendered = render(**EXTERNAL)
    assert "manifest" in rendered, rendered
    names = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(rendered["manifest"]) if each}
    assert ("Deployment", "linkerd-identity") in names and ("Secret", "linkerd-identity-issuer") not in names
    assert ("ConfigMap", "linkerd-identity-trust-roots") not in names
    secret = stored(rendered["manifest"])
    values = yaml.safe_load(base64.b64decode(secret["data"][OVERRIDES]))
    assert values["controllerLogLevel"] == "debug"
    assert values["identity"] == {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}

    cluster.call("PUT", f"{SECRETS}/{OVERRIDES}", secret)
    after = upgrade()
    assert after.returncode == 0, after.stderr
    assert render(**EXTERNAL).keys() >= {"manifest"}


@pytest.mark.parametrize("installed", ["expired"], indirect=True)
def test_an_expired_issuer_that_stays_is_refused(installed, render):
    """No other issuer may take its place in a manifest."""
    for values in ({"controllerLogLevel": "info"}, {"identity.externalCA": "true"}):
        refused = render(**values)
        assert refused["code"] == "upgrade_refused" and "manifest" not in refused
