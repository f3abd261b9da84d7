# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates in the objects of a cluster."""

from __future__ import annotations

import pytest
from support.readings import EARLIER, ISSUER, LATER, NEXT, ROOT, WRITTEN, config_map, encoded, pod, secret

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import sources

KEY = ROOT.key_pem.decode()


def names(group: dict) -> list[str]:
    return [one["common_name"] for one in group["certificates"]]


def test_anchors_of_config_map():
    found = sources.anchors_source(config_map(ROOT, NEXT), "mesh")
    assert found["where"] == "ConfigMap mesh/linkerd-identity-trust-roots"
    assert [one["certificate"] for one in found["certificates"]] == [ROOT.pem, NEXT.pem]
    assert (found["problem"], found["changed_at"]) == ("", WRITTEN)


def test_time_of_change_without_managed_fields_is_creation():
    found = config_map(ROOT)
    del found["metadata"]["managedFields"]
    assert sources.changed_at(found) == EARLIER


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "does not exist"),
        (config_map(other="x"), "has no key ca-bundle.crt"),
        (config_map(**{"ca-bundle.crt": "garbage"}), "cannot be read: "),
        (config_map(**{"ca-bundle.crt": ROOT.pem + KEY}), "cannot be read: The input contains a private key"),
    ],
)
def test_problem_of_anchors(found, problem):
    source = sources.anchors_source(found, "linkerd")
    assert source["certificates"] == []
    assert source["problem"].startswith(problem)
    assert not any(line in str(source) for line in KEY.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("annotations", "problem", "missing"),
    [
        ({sources.CERTIFICATE_NAME: "linkerd-identity-issuer"}, "does not exist", True),
        ({sources.CERTIFICATE_NAME: "linkerd-identity-issuer"}, "", False),
        ({sources.CERTIFICATE_NAME: "linkerd-identity-issuer"}, "cannot be read: 403 Forbidden", False),
        ({sources.CERTIFICATE_NAME: "another"}, "does not exist", False),
        ({}, "does not exist", False),
        (None, "does not exist", False),
    ],
)
def test_certificate_is_missing_if_the_secret_names_it(annotations, problem, missing):
    found = {**secret(ISSUER, ROOT), "metadata": {"annotations": annotations}}
    assert sources.certificate_missing(found, problem) is missing
    assert not sources.certificate_missing(None, problem)


def test_problem_of_read_is_passed_on():
    assert sources.anchors_source(None, "linkerd", "does not exist")["problem"] == "does not exist"


def test_private_key_in_secret_is_not_returned():
    found = secret(ISSUER, ROOT)
    both = [sources.secret_source(found, "linkerd", key) for key in ("tls.crt", "ca.crt")]
    assert [one["certificates"][0]["certificate"] for one in both] == [ISSUER.pem, ROOT.pem]
    assert encoded("not a certificate") not in str(both)
    assert "not a certificate" not in str(both)


@pytest.mark.parametrize(
    ("data", "problem"),
    [({}, "is empty or does not exist"), ({"ca.crt": ""}, "is empty"), ({"ca.crt": "!"}, "is not base64")],
)
def test_problem_of_secret(data, problem):
    source = sources.secret_source({"metadata": {}, "data": data}, "linkerd", "ca.crt")
    assert source["problem"].startswith(problem)
    assert source["certificates"] == []


def issuer_secret(**data: str) -> dict:
    fields = [{"manager": "cert-manager", "time": WRITTEN, "fieldsV1": {"f:data": {}}}]
    found = secret(ISSUER, ROOT)
    return {"metadata": {"managedFields": fields}, "data": {**found["data"], **data}}


def controller(number: int, started: str, namespace: str = "linkerd", component: str = "identity", **more) -> dict:
    found = pod(f"identity-{number}", started=started, labels={sources.COMPONENT: component}, **more)
    found["metadata"]["namespace"] = namespace
    return found


@pytest.mark.parametrize(
    ("pods", "evidence"),
    [
        ([], "started_before"),
        ([controller(0, LATER)], "started_after"),
        ([controller(0, WRITTEN)], "started_before"),
        ([controller(0, LATER), controller(1, EARLIER)], "started_before"),
        ([controller(0, LATER), controller(1, EARLIER, deletionTimestamp=LATER)], "started_after"),
        ([controller(0, LATER), controller(1, EARLIER, "other")], "started_after"),
        ([controller(0, EARLIER), controller(1, LATER, component="destination")], "started_before"),
    ],
)
def test_evidence_that_the_controller_uses_the_issuer(pods, evidence):
    found = sources.issuer_source(issuer_secret(), "linkerd", "kubernetes.io/tls", pods)
    assert (found["evidence"], found["obsolete_key"], found["problem"]) == (evidence, False, "")


OLD_KEYS = {"crt.pem": encoded(ISSUER.pem), "key.pem": encoded("the old key")}


@pytest.mark.parametrize(
    ("scheme", "data", "applied", "expected"),
    [
        ("kubernetes.io/tls", {}, None, False),
        ("kubernetes.io/tls", OLD_KEYS, None, True),
        ("linkerd.io/tls", OLD_KEYS, None, False),  # Linkerd reads it
        (None, OLD_KEYS, None, False),  # it may read it
        ("kubernetes.io/tls", {}, '{"data":{"key.pem":"eA=="}}', True),
        ("kubernetes.io/tls", {}, '{"data":{"tls.key":"eA=="}}', True),
        ("kubernetes.io/tls", {}, '{"metadata":{}}', False),
    ],
)
def test_key_of_an_earlier_issuer(scheme, data, applied, expected):
    given = issuer_secret(**data)
    given["metadata"]["annotations"] = {sources.APPLIED: applied} if applied else {}
    found = sources.issuer_source(given, "linkerd", scheme, [])
    assert found["obsolete_key"] is expected and "the old key" not in str(found)
    assert found["certificates"][0]["certificate"] == ISSUER.pem


def test_issuer_that_does_not_exist():
    found = sources.issuer_source(None, "linkerd", None, [], "does not exist")
    assert (found["problem"], found["evidence"], found["obsolete_key"]) == ("does not exist", None, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("identityTrustDomain: mesh.example\nclusterDomain: cluster.local\n", "mesh.example"),
        ("identityTrustDomain: ''\nclusterDomain: k8s.example\n", "k8s.example"),
        ("proxy: {}\n", None),
        ("- a list\n", None),
        ("{not: yaml", None),
        (None, None),
    ],
)
def test_trust_domain_of_chart_values(values, expected):
    """The chart uses the domain of the cluster if no trust domain is set (linkerd2: templates/identity.yaml)."""
    assert sources.trust_domain(sources.chart_values({"data": {"values": values}})) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("identity: {issuer: {scheme: linkerd.io/tls, tls: {crtPEM: public}}}", "linkerd.io/tls"),
        ("identity: {issuer: {scheme: kubernetes.io/tls}}", "kubernetes.io/tls"),
        ("identity: {issuer: {}}", None),
        ("identity: ", None),
        ("{not: yaml", None),
    ],
)
def test_issuer_scheme_of_chart_values(values, expected):
    assert sources.issuer_scheme(sources.chart_values({"data": {"values": values}})) == expected


CHART, CERT_MANAGER = "linkerd.io/tls", "kubernetes.io/tls"


def reads(scheme: str, number: int = 0, **more) -> dict:
    """A controller with the arguments of Linkerd's chart (linkerd2: templates/identity.yaml)."""
    found = controller(number, LATER, **more)
    args = ["identity", "-log-level=info", f"-identity-scheme={scheme}", "-enable-pprof=false"]
    found["spec"]["containers"].append({"name": "identity", "args": args})
    return found


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], None),
        ([controller(0, LATER)], None),
        ([pod("web-0", ROOT.pem)], None),
        ([reads(CHART)], CHART),
        ([reads(CERT_MANAGER)], CERT_MANAGER),
        ([reads(CERT_MANAGER), reads(CHART, 1)], CHART),  # a rollout is under way
        ([reads(CERT_MANAGER), reads(CHART, 1, deletionTimestamp=LATER)], CERT_MANAGER),
        ([reads(CERT_MANAGER, component="destination"), reads(CERT_MANAGER, 1, namespace="other")], None),
        ([reads("unknown")], None),
    ],
)
def test_issuer_scheme_of_the_running_controller(pods, expected):
    assert sources.scheme_in_use(pods, "linkerd") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("identity: {externalCA: true}", False),
        ("identity: {externalCA: false}", True),
        ("identity: {issuer: {scheme: kubernetes.io/tls}}", True),
        ("identity: ", None),
        ("{not: yaml", None),
    ],
)
def test_the_chart_writes_the_trust_anchors_unless_the_ca_is_external(values, expected):
    """linkerd2: charts/linkerd-control-plane/templates/identity.yaml."""
    assert sources.anchors_in_values(sources.chart_values({"data": {"values": values}})) is expected


def test_values_without_config_map():
    assert sources.chart_values(None) == {}


def test_renewal_time():
    assert sources.renewal_time({"status": {"renewalTime": LATER}}) == LATER
    assert sources.renewal_time({}) is sources.renewal_time(None) is None


def test_pods_are_grouped_by_anchors():
    pods = [pod("b", ROOT.pem), pod("a", ROOT.pem, native=True), pod("c", NEXT.pem), pod("d", NEXT.pem + ROOT.pem)]
    groups = sources.pod_groups([*pods, pod("e", ROOT.pem + NEXT.pem)], WRITTEN)
    assert [group["pods"] for group in groups] == [
        ["emojivoto/a", "emojivoto/b"],
        ["emojivoto/d", "emojivoto/e"],  # the order in the bundle does not matter
        ["emojivoto/c"],
    ]
    assert {group["evidence"] for group in groups} == {"spec"}
    assert names(groups[0]) == ["root.linkerd.cluster.local"]


def test_finished_terminating_and_unmeshed_pods_are_left_out():
    over = pod("over", ROOT.pem)
    over["status"]["phase"] = "Succeeded"
    going = pod("going", ROOT.pem, deletionTimestamp=LATER)
    plain = pod("plain", ROOT.pem)
    plain["spec"]["containers"][1]["name"] = "other"
    assert sources.pod_groups([over, going, plain], WRITTEN) == []


@pytest.mark.parametrize(
    ("started", "changed", "evidence"),
    [
        (LATER, WRITTEN, "started_after"),
        (EARLIER, WRITTEN, "started_before"),
        (WRITTEN, WRITTEN, "started_before"),  # in the same second, so the order is not known
        (None, WRITTEN, "started_after"),  # it has not started yet
        (LATER, None, "started_before"),  # there is no ConfigMap any more
    ],
)
def test_evidence_of_control_plane(started, changed, evidence):
    one = pod("linkerd-destination-0")
    one["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": started}} if started else {"waiting": {}}
    assert [group["evidence"] for group in sources.pod_groups([one], changed)] == [evidence]


def test_evidence_of_identity_controller_is_its_own_container():
    one = pod("linkerd-identity-0")
    controller = {"name": "identity", "state": {"running": {"startedAt": EARLIER}}}
    one["status"]["containerStatuses"].append(controller)
    assert sources.pod_groups([one], WRITTEN)[0]["evidence"] == "started_before"


def test_problem_of_anchors_in_pod():
    group = sources.pod_groups([pod("web-0", "garbage")], WRITTEN)[0]
    assert group["certificates"] == []
    assert group["problem"].startswith("cannot be read: ")
