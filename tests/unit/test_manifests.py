# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests for a Git repository. The oracle is the YAML parser that reads them back."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.filter.manifests import kubernetes_manifests

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def configmap(**more) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "anchors", "namespace": "mesh"}, **more}


def read(text: str) -> list:
    return list(yaml.safe_load_all(text))


def test_objects_are_read_back_in_their_order():
    objects = [
        configmap(data={"ca-bundle.crt": PEM}),
        {"kind": "Role", "metadata": {"name": "r"}, "rules": [{"a": [1, True]}]},
    ]
    assert read(kubernetes_manifests(objects)) == objects


def test_the_order_of_keys_does_not_change_the_text():
    one = {"data": {"b": "1", "a": "2"}, "kind": "ConfigMap", "metadata": {"namespace": "mesh", "name": "x"}}
    two = {"metadata": {"name": "x", "namespace": "mesh"}, "kind": "ConfigMap", "data": {"a": "2", "b": "1"}}
    assert kubernetes_manifests([one]) == kubernetes_manifests([two])


def test_nulls_are_left_out():
    spec = {"vault": {"caBundle": None, "server": "https://v", "auth": {"appRole": None, "kubernetes": {"role": "r"}}}}
    found = read(kubernetes_manifests([configmap(spec=spec)]))[0]["spec"]
    assert found == {"vault": {"server": "https://v", "auth": {"kubernetes": {"role": "r"}}}}


def test_an_empty_mapping_stays():
    assert read(kubernetes_manifests([configmap(spec={"selfSigned": {}})]))[0]["spec"] == {"selfSigned": {}}


def test_a_certificate_is_a_block_of_its_lines():
    text = kubernetes_manifests([configmap(data={"ca-bundle.crt": PEM})])
    assert "  ca-bundle.crt: |\n    -----BEGIN CERTIFICATE-----\n" in text


def test_one_value_in_two_places_is_written_twice():
    shared = ["vault-issuer"]
    text = kubernetes_manifests([configmap(one=shared, two=shared)])
    assert "&" not in text and "*" not in text


@pytest.mark.parametrize("text", ["on", "1e3", "0x10", "2026-11-26", "null", "~", "a: b", "x #y", " lead", "é"])
def test_text_stays_text(text):
    assert read(kubernetes_manifests([configmap(data={"key": text})]))[0]["data"] == {"key": text}


def test_the_mark_of_the_collection_is_left_out():
    labels = {"app.kubernetes.io/managed-by": "servicemesh.pki", "team": "mesh"}
    given = configmap(metadata={"name": "a", "labels": labels})
    assert read(kubernetes_manifests([given]))[0]["metadata"] == {"name": "a", "labels": {"team": "mesh"}}
    assert given["metadata"]["labels"] == labels
    alone = {"app.kubernetes.io/managed-by": "servicemesh.pki"}
    given = configmap(metadata={"name": "a", "labels": alone})
    assert read(kubernetes_manifests([given]))[0]["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    ("definitions", "named"),
    [
        ([{"kind": "Secret", "metadata": {"name": "vault-token"}}], "Secret vault-token"),
        ([{"metadata": {"name": "x"}}], "kind"),
        ([{"kind": "ConfigMap", "metadata": {}}], "name"),
        ([7], r"metadata\.name"),
        ("text", "kubernetes_manifests"),
    ],
)
def test_what_cannot_be_a_file_is_an_error(definitions, named):
    with pytest.raises(AnsibleFilterError, match=named):
        kubernetes_manifests(definitions)
