# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of module and filter input return a result or raise their documented error for any input.

The output of linkerd check and kubeconfigs have their own tests, and so have responses of Vault and Kubernetes
(tests/integration, altered_answers).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ansible.errors import AnsibleFilterError
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.servicemesh.pki.plugins.filter.identity import identity_lifetime
from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics, mesh_report, mesh_report_html
from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import clusters
from ansible_collections.servicemesh.pki.plugins.module_utils._kubernetes import conditions, jwk
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import events as linkerd_events
from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import errors

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6))


def values(names: list[str], texts: Sequence[str] = ()) -> st.SearchStrategy:
    """JSON with names and texts that the parser knows, at any place."""
    scalars = st.one_of(SCALARS, st.sampled_from(texts)) if texts else SCALARS
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(names), inner, max_size=4)
        ),
        max_leaves=12,
    )


ANY = values(["a", "b", "c"], ["1h", "10.0.0.0/8", "a,b", ""])


@given(ANY, ANY)
def test_drift(one, other):
    assert isinstance(drift.is_equal(one, other), bool)
    assert drift.is_equal(one, other) == drift.is_equal(other, one)
    differing = drift.differences({"x": one}, {"x": other})
    assert isinstance(drift.describe(differing), str)
    json.dumps(drift.redact(other, one))


@given(st.one_of(ANY, st.text(alphabet="0123456789.hmsdw -", max_size=30)))
def test_durations(value):
    for read in (durations.seconds, durations.to_text, lambda one: durations.positive("ttl", one)):
        try:
            read(value)
        except durations.DurationError as exc:
            assert str(exc)
    assert isinstance(durations.has_unit(value), bool) and isinstance(durations.is_go_duration(value), bool)


@given(
    st.integers(100, 599), st.one_of(values(["errors", "warnings", "data"], ["1 error occurred:\n\t* x"]), st.text())
)
def test_error_responses_of_vault(status, body):
    error = errors.from_response("http://v", "read", "p", status, body)
    assert str(error) and error.code and error.status == status


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e"]),
        st.one_of(SCALARS, st.sampled_from(["RSA", "EC", "P-256", "AQAB"])),
    )
)
def test_json_web_keys(key):
    try:
        assert "BEGIN PUBLIC KEY" in jwk.public_key_pem(key)
    except jwk.JwkError as exc:
        assert str(exc)
    else:
        assert isinstance(key["n"], str) and isinstance(key["e"], str)


K3D = ["ports", "port", "nodeFilters", "options", "k3s", "extraArgs", "arg", "servers", "agents", "image", "network"]


@given(values(K3D, ["80:80", "1-3:1-3/udp", "server:*", "agents:0-1", "--disable=traefik"]))
def test_k3d_configs(value):
    config = value if isinstance(value, dict) else {"ports": value, "options": {"k3s": {"extraArgs": value}}}
    try:
        clusters.check_config(config)
    except clusters.K3dError as exc:
        assert str(exc) and exc.details["what"] is not None
        return
    node = {"name": "k3d-c-server-0", "role": "server"}
    assert isinstance(clusters.differences(config, {"name": "c", "nodes": [node]}, {}), dict)
    assert isinstance(clusters.probed_ports(config, None), list)


STATUS = ["conditions", "type", "status", "reason", "message", "observedGeneration", "0"]


@given(values(STATUS, ["Ready", "True"]), values(STATUS))
def test_conditions(status, generation):
    """The status of a custom resource is whatever its controller writes."""
    found = {"metadata": {"generation": generation}, "status": status}
    expected = conditions.Expectation("example.com/v1", "Kind", "n", "ns", "Ready")
    assert isinstance(conditions.unmet_reason(found, expected), str | None)
    assert isinstance(conditions.explain(expected, "is not Ready", found, []), str)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "metadata": st.just({"resourceVersion": "1"}),
                "reason": SCALARS,
                "message": st.one_of(st.none(), st.text()),
            }
        )
    )
)
def test_events(events):
    assert isinstance(linkerd_events.update_since(events, set(), 1).is_updated, bool)


@given(st.one_of(st.none(), st.text(), st.binary()))
def test_certificate_sources(text):
    found = sources.source("here", text)
    assert found["certificates"] or found["problem"]


FACTS = [
    *("anchors", "issuer", "signer", "pods", "certificates", "problem", "where", "changed_at", "renewal_time", "msg"),
    *("issuers", "address", "mount", "certificate", "checks", "errors", "passed", "failed", "evidence", "name"),
    *("disagreements", "clusters", "vault", "table", "at", "agreed", "unreadable", "proxies"),
]


@given(values(FACTS), values(FACTS), values(FACTS), st.one_of(st.none(), st.text(max_size=3), SCALARS))
@example({"a": {"anchors": {"problem": None}}}, {}, {}, None)
def test_reports(certificates, vault, checks, at):
    try:
        report = mesh_report(certificates, vault, checks, at=at)
    except AnsibleFilterError as exc:
        assert str(exc)
        return
    assert "<html" in mesh_report_html(report)
    assert mesh_metrics(report).endswith("# EOF\n")


@given(values(FACTS))
def test_metrics(report):
    try:
        assert mesh_metrics(report).encode().endswith(b"# EOF\n")
    except AnsibleFilterError as exc:
        assert str(exc)


@given(values(FACTS))
def test_html_pages(report):
    try:
        assert "<html" in mesh_report_html(report)
    except AnsibleFilterError as exc:
        assert str(exc)


@given(st.one_of(SCALARS, st.binary(), st.lists(SCALARS, max_size=2)), SCALARS, SCALARS, SCALARS)
def test_identity_lifetimes(anchors, duration, renew_before, at):
    try:
        assert "problems" in identity_lifetime(anchors, duration, renew_before, at)
    except AnsibleFilterError as exc:
        assert str(exc)
