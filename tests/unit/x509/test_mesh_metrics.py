# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a report, read with a separate parser. tests/alerts checks them with promtool."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from support.authority import DAY, NOW, make
from support.readings import ISSUER, NEXT, ROOT, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics
from ansible_collections.servicemesh.pki.plugins.plugin_utils._report import comparison

LINE = re.compile(r'servicemesh_pki_(?P<name>\w+)\{(?P<labels>(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (?P<value>\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\["\\n])*)"')
ODD = 'a "quoted" \\ back\nslash, {brace} = é'
FAILED = {"failed": True, "msg": "The cluster's API server does not answer: refused."}


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            found.setdefault(match["name"], []).append((dict(LABEL.findall(match["labels"])), float(match["value"])))
    return found


def one(text: str, name: str, **labels: str) -> float:
    [value] = [value for given, value in parsed(text)[name] if labels.items() <= given.items()]
    return value


def openssl_end(pem: str, folder: Path) -> float:
    """The end of the validity according to openssl."""
    (folder / "one.pem").write_text(pem)
    command = ["openssl", "x509", "-in", str(folder / "one.pem"), "-noout", "-enddate"]
    end = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().removeprefix("notAfter=")
    return datetime.strptime(end, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("source", "certificate"), [("vault", ROOT), ("anchor", ROOT), ("issuer", ISSUER)])
def test_end_of_certificate_is_that_of_openssl(source, certificate, tmp_path):
    text = mesh_metrics(report(berlin=reading()))
    end = one(text, "certificate_not_after_timestamp_seconds", source=source)
    assert end == openssl_end(certificate.pem, tmp_path)


def test_certificates_have_cluster_or_vault():
    found = parsed(mesh_metrics(report(berlin=reading(), oslo=reading())))
    for part in ("before", "after"):
        samples = found[f"certificate_not_{part}_timestamp_seconds"]
        assert [(labels.get("cluster"), labels["source"]) for labels, dummy in samples] == [
            (None, "vault"),
            *((name, source) for name in ("berlin", "oslo") for source in ("anchor", "issuer", "signer")),
        ]
    [anchor] = [labels for labels, dummy in samples if labels["source"] == "anchor" and labels["cluster"] == "oslo"]
    assert anchor["object"] == "ConfigMap linkerd/linkerd-identity-trust-roots"
    assert anchor["subject"] == "CN=root.linkerd.cluster.local"
    assert "vault" in samples[0][0]


def test_intermediate_is_no_issuer():
    given = reading()
    given["issuer"]["certificates"] += vault(NEXT)["issuers"]
    samples = parsed(mesh_metrics(report(berlin=given)))["certificate_not_after_timestamp_seconds"]
    ends = {labels["source"]: value for labels, value in samples}
    assert (ends["issuer"], ends["intermediate"]) == (
        (NOW + 2 * DAY).timestamp(),
        (NOW + 365 * DAY).timestamp(),
    )


def test_certificate_that_is_in_a_source_twice_is_one_sample():
    samples = parsed(mesh_metrics(report(berlin=reading(anchors=(ROOT, ROOT, NEXT)))))
    ends = [labels for labels, dummy in samples["certificate_not_after_timestamp_seconds"]]
    assert len([labels for labels in ends if labels["source"] == "anchor"]) == 2


def test_result_and_times():
    text = mesh_metrics(report(berlin=reading()))
    assert one(text, "verification_success") == 1
    assert one(text, "verification_timestamp_seconds") == NOW.timestamp()
    assert one(text, "cluster_verification_timestamp_seconds", cluster="berlin") == NOW.timestamp()
    assert one(text, "issuer_renewal_timestamp_seconds", cluster="berlin") == (NOW + DAY * 21 / 24).timestamp()
    assert one(text, "workload_certificates", cluster="berlin") == 3
    assert one(text, "workload_first_not_after_timestamp_seconds") == (NOW + DAY * 23 / 24).timestamp()


def test_what_is_not_known_has_no_sample():
    given = reading(renewal=None)
    given["leaves"] = given["leaves_missing"] = None
    found = parsed(mesh_metrics(report(berlin=given, oslo=FAILED)))
    unknown = {"issuer_renewal_timestamp_seconds", "workload_certificates", "credential_not_after_timestamp_seconds"}
    assert not unknown & set(found)
    assert one(mesh_metrics(report(oslo=FAILED)), "disagreements", cluster="oslo", code="cluster_unreadable") == 1


@pytest.mark.parametrize(("code", "samples"), [("forbidden", 0), ("unreadable", 0), ("refused", 1)])
def test_certificates_that_could_not_be_read_are_not_counted(code, samples):
    missing = {"pod": "emojivoto/web-0", "started_at": "2026-11-24T11:00:09Z", "code": code, "problem": "why not"}
    found = parsed(mesh_metrics(report(berlin=reading(missing=[missing]))))
    assert len(found.get("workload_certificates", [])) == samples


def test_cluster_that_was_not_read_has_no_time():
    """So its last sample becomes old, although the other cluster is verified."""
    samples = parsed(mesh_metrics(report(berlin=reading(), oslo=FAILED)))["cluster_verification_timestamp_seconds"]
    assert samples == [({"cluster": "berlin"}, NOW.timestamp())]


def test_every_code_has_a_gauge():
    samples = parsed(mesh_metrics(report(berlin=reading(), oslo=reading())))["disagreements"]
    assert {labels["code"] for labels, dummy in samples} == comparison.CODES
    assert {value for dummy, value in samples} == {0}
    about_all = {labels["code"] for labels, dummy in samples if "cluster" not in labels}
    assert about_all == {"vault_unreadable", "vault_issuer_unreadable", "no_clusters", "clusters_differ"}


def test_disagreements_are_counted_by_cluster():
    text = mesh_metrics(report(vault(NEXT), berlin=reading(), oslo=reading(signer=NEXT)))
    assert one(text, "disagreements", cluster="berlin", code="signer_not_in_anchors") == 0
    assert one(text, "disagreements", cluster="oslo", code="signer_not_in_anchors") == 1
    assert one(text, "verification_success") == 0


def test_allowed_disagreement_has_its_own_sample():
    text = mesh_metrics(report(vault(NEXT), allowed=("anchor_not_in_vault",), berlin=reading()))
    labels = {"cluster": "berlin", "code": "anchor_not_in_vault"}
    assert one(text, "disagreements", **labels, allowed="true") == 1
    assert one(text, "disagreements", **labels, allowed="false") == 0
    assert one(text, "verification_success") == 1


def test_values_of_labels_are_escaped():
    root = make(ODD, start=NOW - DAY, end=NOW + DAY)
    text = mesh_metrics(report(vault(root), **{ODD: reading(anchors=(root,))}))
    labels = next(
        labels for labels, dummy in parsed(text)["certificate_not_after_timestamp_seconds"] if "cluster" in labels
    )
    assert labels["cluster"] == 'a \\"quoted\\" \\\\ back\\nslash, {brace} = é'
    assert "\ud800" not in mesh_metrics(report(**{"\ud800": reading()}))


def test_credential_is_a_sample_if_its_end_is_known():
    found = report(berlin=reading(), oslo=reading())
    found["clusters"][1]["credential"] = {"where": "Secret linkerd/vault-token", "not_after": "2026-12-01T00:00:00Z"}
    text = mesh_metrics(found)
    end = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    labels = {"cluster": "oslo", "object": "Secret linkerd/vault-token"}
    assert parsed(text)["credential_not_after_timestamp_seconds"] == [(labels, end)]


def test_states_of_controllers_are_samples():
    given = {**reading(), "failed_attempts": 2, "bundle": {"where": "Bundle roots", "ready": False}}
    text = mesh_metrics(report(berlin={**given, "cert_manager_issuer": {"where": "Issuer vault", "ready": True}}))
    assert one(text, "issuance_failures", cluster="berlin") == 2
    assert one(text, "bundle_synced", object="Bundle roots") == 0
    assert one(text, "cert_manager_issuer_ready", object="Issuer vault") == 1


def test_text_ends_as_openmetrics_does_and_contains_no_key():
    text = mesh_metrics(report(berlin=reading()))
    assert text.endswith("\n# EOF\n")
    assert "BEGIN" not in text
    names = re.findall(r"^# TYPE (\S+) gauge$", text, re.M)
    assert len(names) == len(set(names)) == len(re.findall("^# HELP ", text, re.M))


def test_other_input_is_named():
    with pytest.raises(AnsibleFilterError, match="mesh_metrics"):
        mesh_metrics({"clusters": []})
