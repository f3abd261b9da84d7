# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""promtool evaluates the rules: every alert fires for its cause, not before, and recovers.

In a test of promtool the time begins at 0, so a certificate with the end 40 * DAY expires after 40 days.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from support import alert_rules
from support.authority import NOW
from support.readings import NEXT, reading, report, vault

from ansible_collections.servicemesh.pki.plugins.filter.mesh import mesh_metrics

DAY, HOUR, MINUTE = 86400, 3600, 60
EVALUATED = (50, 150, 235)  # minutes
ANCHOR = (
    'servicemesh_pki_certificate_not_after_timestamp_seconds{cluster="c", source="anchor", object="o", subject="s"}'
)
INTERMEDIATE = ANCHOR.replace('"anchor"', '"intermediate"').replace("}", ', fingerprint_sha256="1"}')
REPORTED_END = ANCHOR.replace('"anchor"', '"issuer"')
ROOTS = 'configmap_namespace="linkerd", configmap_name="linkerd-identity-trust-roots"'
X509 = f'x509_cert_not_after{{cluster="c", {ROOTS}, subject_CN="s", serial_number="1"}}'
CERTIFICATE = '{cluster="c", namespace="linkerd", name="linkerd-identity-issuer"}'
END = f"certmanager_certificate_expiration_timestamp_seconds{CERTIFICATE}"
RENEWAL = f"certmanager_certificate_renewal_timestamp_seconds{CERTIFICATE}"
TTL = 'issuer_cert_ttl_seconds{cluster="c", pod="p"}'
READY = 'certmanager_issuer_ready_status{cluster="c", namespace="linkerd", name="vault", condition="True"}'
REPORTED = 'servicemesh_pki_cert_manager_issuer_ready{cluster="c", object="Issuer linkerd/vault"}'
CREDENTIAL = 'servicemesh_pki_credential_not_after_timestamp_seconds{cluster="c", object="o"}'
VERIFIED_CLUSTER = 'servicemesh_pki_cluster_verification_timestamp_seconds{cluster="c"}'
VERIFIED = 'servicemesh_pki_verification_timestamp_seconds{vault="v"}'


LOGIN = "certmanager_controller_sync_error_count"
LOGIN += '{cluster="c", controller="certificaterequests-issuer-vault"}'


def disagreement(code: str, labels: str = 'cluster="c"', allowed: str = "false") -> str:
    return f'servicemesh_pki_disagreements{{{labels}, code="{code}", allowed="{allowed}"}}'


@dataclass
class Case:
    """Series with one value a minute: until minute 60 all is well, from 60 to 179 not, then it is again.

    A series is given by its values in these three parts. A function of the minute gives one that changes in between.
    """

    alert: str
    series: dict[str, Any]
    labels: dict[str, str] = field(default_factory=lambda: {"cluster": "c"})
    severity: str = "warning"

    def values(self, given: Any) -> str:
        at = given if callable(given) else lambda minute: given[(minute >= 60) + (minute >= 180)]
        return " ".join("_" if at(minute) is None else str(at(minute)) for minute in range(240))


def remaining(days: tuple[float, float, float]) -> tuple[float, ...]:
    """Ends that leave these numbers of days when the alert is evaluated."""
    return tuple(day * DAY + minute * MINUTE for minute, day in zip(EVALUATED, days, strict=True))


def counter(minute: int) -> int:
    return min(max(minute - 60, 0), 119)


OBJECT = {"cluster": "c", "object": "o"}
NAMED = {**OBJECT, "subject": "s"}
BY_EXPORTER = {
    "cluster": "c",
    "object": "ConfigMap linkerd/linkerd-identity-trust-roots",
    "subject": "CN=s",
    "serial_number": "1",
}
SIGNED = {**NAMED, "fingerprint_sha256": "1"}
BY_VAULT = {"vault": "v"}
ISSUER = {"cluster": "c", "object": "Issuer linkerd/vault"}
REFUSED = {"cluster": "c", "object": "Certificate linkerd/linkerd-identity-issuer"}
OF_ANY_TEAM = ("the Bundles", "a Certificate of a Vault issuer")  # objects whose number of errors is that of all
CASES = {
    "anchor 90": Case("MeshTrustAnchorExpires", {ANCHOR: remaining((93, 91, 93))}, NAMED, "info"),
    "anchor 30": Case("MeshTrustAnchorExpires", {ANCHOR: remaining((400, 31, 400))}, NAMED),
    "anchor 7": Case("MeshTrustAnchorExpires", {ANCHOR: remaining((400, 8, 400))}, NAMED, "critical"),
    "anchor has expired": Case("MeshTrustAnchorExpires", {ANCHOR: remaining((400, -1, 400))}, NAMED, "critical"),
    "anchor of the exporter": Case("MeshTrustAnchorExpires", {X509: remaining((400, 8, 400))}, BY_EXPORTER, "critical"),
    "anchor of the exporter, beside a new one of the same name": Case(
        "MeshTrustAnchorExpires",
        {X509: remaining((400, 8, 400)), X509.replace('"1"', '"2"'): remaining((400, 400, 400))},
        BY_EXPORTER,
        "critical",
    ),
    "anchor of the exporter, which also reads what the Bundle writes into other namespaces": Case(
        "MeshTrustAnchorExpires",
        {X509: remaining((400, 8, 400)), X509.replace('"linkerd"', '"team"'): remaining((8, 8, 8))},
        BY_EXPORTER,
        "critical",
    ),
    "intermediate 90": Case("MeshIntermediateExpires", {INTERMEDIATE: remaining((91, 89, 91))}, SIGNED, "info"),
    "intermediate 30": Case("MeshIntermediateExpires", {INTERMEDIATE: remaining((400, 29, 400))}, SIGNED),
    "intermediate 7": Case(
        "MeshIntermediateExpires",
        {INTERMEDIATE: remaining((400, 6, 400)), ANCHOR: remaining((400, 400, 400))},
        SIGNED,
        "critical",
    ),
    "intermediate has expired": Case(
        "MeshIntermediateExpires", {INTERMEDIATE: remaining((400, -3, 400))}, SIGNED, "critical"
    ),
    "anchors differ": Case(
        "MeshTrustAnchorsDiffer", {disagreement("clusters_differ", 'vault="v"'): (0, 1, 0)}, BY_VAULT, "critical"
    ),
    "Bundle": Case(
        "MeshBundleNotSynced", {'servicemesh_pki_bundle_synced{cluster="c", object="o"}': (1, 0, 1)}, OBJECT
    ),
    "Bundle with an error": Case(
        "MeshBundleNotSynced",
        {'controller_runtime_reconcile_errors_total{cluster="c", controller="bundles"}': counter},
        {"cluster": "c", "object": "the Bundles"},
    ),
    "no anchors": Case("MeshTrustAnchorsUnwatched", {ANCHOR: (4e7, None, 4e7)}, {"source": "anchor"}),
    "no anchors of the mesh, beside a ConfigMap of another namespace": Case(
        "MeshTrustAnchorsUnwatched",
        {ANCHOR: (4e7, None, 4e7), X509.replace('"linkerd"', '"team"'): (4e7, 4e7, 4e7)},
        {"source": "anchor"},
    ),
    "no anchors of one cluster": Case(
        "MeshTrustAnchorsUnwatched",
        {
            ANCHOR: (4e7, None, 4e7),
            END: (9e5, 9e5, 9e5),
            ANCHOR.replace('"c"', '"reported"'): (4e7, 4e7, 4e7),
            END.replace('"c"', '"reported"'): (9e5, 9e5, 9e5),
            TTL.replace('"c"', '"exported"'): (9e5, 9e5, 9e5),
            X509.replace('"c"', '"exported"'): (4e7, 4e7, 4e7),
        },
    ),
    "no anchors of any cluster": Case("MeshTrustAnchorsUnwatched", {ANCHOR: (4e7, None, 4e7), TTL: (9e5, 9e5, 9e5)}),
    "not renewed": Case("MeshIdentityIssuerNotRenewed", {RENEWAL: (3 * HOUR, 0.75 * HOUR, 99 * HOUR)}),
    "not renewed, beside a Certificate of another namespace": Case(
        "MeshIdentityIssuerNotRenewed",
        {
            RENEWAL.replace("namespace=", 'namespace="cert-manager", exported_namespace='): (
                3 * HOUR,
                0.75 * HOUR,
                99 * HOUR,
            ),
            RENEWAL.replace('"linkerd"', '"team"'): (99 * HOUR, 99 * HOUR, 99 * HOUR),
            RENEWAL.replace('"linkerd"', '"linkerd", exported_namespace="team"'): (99 * HOUR, 99 * HOUR, 99 * HOUR),
        },
    ),
    "not renewed according to the report": Case(
        "MeshIdentityIssuerNotRenewed", {disagreement("renewal_overdue"): (0, 1, 0)}
    ),
    "issuer expires": Case("MeshIdentityIssuerExpires", {TTL: (20 * HOUR, 11 * HOUR, 48 * HOUR)}, severity="critical"),
    "issuer has expired": Case("MeshIdentityIssuerExpires", {TTL: (20 * HOUR, -9, 48 * HOUR)}, severity="critical"),
    "issuer expires according to cert-manager": Case(
        "MeshIdentityIssuerExpires", {END: (20 * HOUR, 11 * HOUR, 48 * HOUR)}, severity="critical"
    ),
    "issuer expires according to the report": Case(
        "MeshIdentityIssuerExpires",
        {REPORTED_END: (20 * HOUR, 11 * HOUR, 48 * HOUR), VERIFIED_CLUSTER: lambda minute: minute * MINUTE},
        severity="critical",
    ),
    "issuer expires, beside a Certificate of another namespace": Case(
        "MeshIdentityIssuerExpires",
        {END: (20 * HOUR, 11 * HOUR, 48 * HOUR), END.replace('"linkerd"', '"team"'): (1 * HOUR, 48 * HOUR, 1 * HOUR)},
        severity="critical",
    ),
    "skipped": Case(
        "MeshIdentityIssuerNotLoaded",
        {
            END: (25 * HOUR, 49 * HOUR, 49 * HOUR),
            TTL: lambda minute: (25 if minute < 180 else 49) * HOUR - minute * MINUTE,
        },
        severity="critical",
    ),
    "skipped, and the old issuer is valid for longer": Case(
        "MeshIdentityIssuerNotLoaded",
        {
            END: (99 * HOUR, 49 * HOUR, 49 * HOUR),
            TTL: lambda minute: (99 if minute < 180 else 49) * HOUR - minute * MINUTE,
            TTL.replace('"p"', '"other"'): lambda minute: (99 if minute < 60 else 49) * HOUR - minute * MINUTE,
        },
        severity="critical",
    ),
    "controller that does not start": Case(
        "MeshIdentityControllerUnwatched",
        {
            TTL: (9e5, None, 9e5),
            TTL.replace('"c"', '"beside"'): lambda minute: 9e5 if minute < 60 else None,
            TTL.replace('"c"', '"beside"').replace('"p"', '"replica"'): (9e5, 9e5, 9e5),
        },
        severity="critical",
    ),
    "refused": Case(
        "MeshCertificateRequestRefused", {'servicemesh_pki_issuance_failures{cluster="c"}': (0, 3, 0)}, REFUSED
    ),
    "refused login": Case(
        "MeshCertificateRequestRefused",
        {LOGIN: counter},
        {"cluster": "c", "object": "a Certificate of a Vault issuer"},
    ),
    "Issuer": Case("MeshCertManagerIssuerNotReady", {READY: (1, 0, 1)}, ISSUER),
    "Issuer without honor_labels": Case(
        "MeshCertManagerIssuerNotReady",
        {READY.replace('namespace="linkerd"', 'namespace="cert-manager", exported_namespace="linkerd"'): (1, 0, 1)},
        ISSUER,
    ),
    "Issuer beside one of another namespace": Case(
        "MeshCertManagerIssuerNotReady",
        {READY: (1, 0, 1), READY.replace("linkerd", "team"): (1, 1, 1), REPORTED: (1, 0, 1)},
        ISSUER,
    ),
    "Issuer according to the report": Case("MeshCertManagerIssuerNotReady", {REPORTED: (1, 0, 1)}, ISSUER),
    "Issuer that was deleted, with its metric": Case(
        "MeshCertManagerIssuerNotReady", {READY: (1, None, 1), REPORTED: (1, 0, 1)}, ISSUER
    ),
    "Issuer that only the Certificate names": Case(
        "MeshCertManagerIssuerNotReady",
        {READY: (1, 1, 1), REPORTED.replace("vault", "missing"): (None, 0, None)},
        {"cluster": "c", "object": "Issuer linkerd/missing"},
    ),
    "Issuer according to the report, beside other issuers": Case(
        "MeshCertManagerIssuerNotReady",
        {
            REPORTED: (1, 0, 1),
            READY.replace("linkerd", "team"): (1, 1, 1),
            READY.replace('"linkerd"', '"linkerd", exported_namespace="team"'): (1, 1, 1),
            'certmanager_clusterissuer_ready_status{cluster="c", name="letsencrypt", condition="True"}': (1, 1, 1),
        },
        ISSUER,
    ),
    "credential 10": Case("MeshVaultCredentialExpires", {CREDENTIAL: remaining((31, 9, 31))}, OBJECT),
    "credential 3": Case("MeshVaultCredentialExpires", {CREDENTIAL: remaining((31, 2, 31))}, OBJECT, "critical"),
    "no issuer": Case("MeshIdentityIssuerUnwatched", {END: (9e5, None, 9e5)}),
    "no issuer of one cluster": Case(
        "MeshIdentityIssuerUnwatched",
        {
            END: (9e5, None, 9e5),
            TTL: (9e5, None, 9e5),
            END.replace('"c"', '"beside"'): (9e5, 9e5, 9e5),
            END.replace('"c"', '"reported"'): (9e5, None, 9e5),
            REPORTED_END.replace('"c"', '"reported"'): (9e5, 9e5, 9e5),
        },
    ),
    "verification fails": Case(
        "MeshVerificationFailed",
        {disagreement("issuer_refused"): (0, 2, 0)},
        {"cluster": "c", "code": "issuer_refused"},
    ),
    "Vault was not read": Case(
        "MeshVerificationFailed",
        {disagreement("vault_unreadable", 'vault="v"'): (0, 1, 0)},
        {**BY_VAULT, "code": "vault_unreadable"},
    ),
    "stale": Case("MeshVerificationStale", {VERIFIED: (0, -26 * HOUR, 3 * HOUR)}, BY_VAULT),
    "stale cluster": Case(
        "MeshVerificationStale",
        {VERIFIED_CLUSTER: (-25 * HOUR, -25 * HOUR, 3 * HOUR)},
    ),
}
ALERTS = [rule for group in alert_rules.rules()["groups"] for rule in group["rules"] if "alert" in rule]


def test_of(case: Case, rules_file: Any) -> dict[str, Any]:
    """Return the input for `promtool test rules`: an alert in the second part, nothing in the others."""
    series = {name: case.values(given) for name, given in case.series.items()}
    firing = {**case.labels, "severity": case.severity}
    before, during, after = EVALUATED
    return alert_rules.promtool_test(rules_file, case.alert, series, {before: [], during: [firing], after: []})


test_of.__test__ = False


@pytest.mark.parametrize("name", CASES)
def test_alert_fires_and_recovers(name, promtool, plain_rules, tmp_path):
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test_of(CASES[name], plain_rules)))
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


NAMES = {
    "cluster": "berlin",
    "object": "Kind space/name",
    "subject": "CN=name",
    "vault": "https://vault.example.com",
}


def named(series: str) -> str:
    """A series whose labels have values that a text does not contain by chance."""
    return re.sub(rf'\b({"|".join(NAMES)})="."', lambda found: f'{found[1]}="{NAMES[found[1]]}"', series)


def annotations(case: Case, promtool: Any, rules_file: Any, folder: Any) -> dict[str, str]:
    """The texts of the alert, which promtool prints because the test expects none."""
    series = {named(name): case.values(given) for name, given in case.series.items()}
    content = alert_rules.promtool_test(rules_file, case.alert, series, {EVALUATED[1]: []})
    (folder / "test.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", str(folder / "test.yml"))
    [found] = re.findall(r"Annotations:\{(.*)\}", done.stderr)
    return dict(re.findall(r'(\w+)="([^"]*)"', found))


@pytest.mark.parametrize("name", CASES)
def test_summary_names_what_the_labels_do(name, promtool, rules_file, tmp_path):
    """The description of an alert on the errors of all teams does not blame the mesh."""
    case = CASES[name]
    texts = annotations(case, promtool, rules_file, tmp_path)
    labels = {label: NAMES.get(label, value) if len(value) == 1 else value for label, value in case.labels.items()}
    assert [label for label in (*NAMES, "code") if labels.get(label, "") not in texts["summary"]] == []
    assert ("has expired" in texts["summary"]) == name.endswith("has expired")
    assert ("another team" in texts["description"]) == (labels.get("object") in OF_ANY_TEAM)


@pytest.mark.parametrize("name", ["anchor 7", "stale", "issuer expires"])
def test_case_that_expects_another_alert_fails(name, promtool, plain_rules, tmp_path):
    content = test_of(CASES[name], plain_rules)
    content["tests"][0]["alert_rule_test"][0]["eval_time"] = f"{EVALUATED[1]}m"
    (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
    assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode == 1


@pytest.mark.parametrize(
    "series",
    [
        {disagreement("clusters_differ", 'vault="v"', "true"): (3, 3, 3)},
        {disagreement("linkerd_check", allowed="true"): (3, 3, 3)},
    ],
)
def test_allowed_disagreement_fires_nothing(series, promtool, plain_rules, tmp_path):
    for alert in ("MeshTrustAnchorsDiffer", "MeshVerificationFailed"):
        content = test_of(Case(alert, series), plain_rules)
        content["tests"][0]["alert_rule_test"][1]["exp_alerts"] = []
        (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
        assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode == 0


def test_anchor_in_the_chain_of_the_issuer_has_one_alert(promtool, plain_rules, tmp_path):
    series = {
        INTERMEDIATE.replace('"intermediate"', source): remaining((8, 8, 8))
        for source in ('"anchor"', '"intermediate"')
    }
    content = test_of(Case("MeshIntermediateExpires", series), plain_rules)
    content["tests"][0]["alert_rule_test"][1]["exp_alerts"] = []
    (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
    assert promtool("test", "rules", str(tmp_path / "test.yml")).returncode == 0


def test_every_alert_has_a_case():
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} == {
        (case.alert, case.severity) for case in CASES.values()
    }


def test_rules_pass_the_check(promtool, rules_file):
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules_file))
    assert done.returncode == 0, done.stdout + done.stderr


REPORTS = {
    "all match": {"berlin": reading(), "oslo": reading()},
    "names with other characters": {'a "b" \\ \n é': reading()},
    "disagreements": {"vault_result": vault(NEXT), "berlin": reading(signer=NEXT), "oslo": {"msg": "refused"}},
    "states": {
        "berlin": {
            **reading(),
            "failed_attempts": 1,
            "bundle": {"where": "Bundle b", "ready": True},
            "cert_manager_issuer": {"where": "Issuer n/vault", "ready": True},
            "credential": {"where": "Secret n/vault-token", "not_after": "2026-12-01T00:00:00Z"},
        }
    },
}


@pytest.mark.parametrize("name", REPORTS)
def test_metrics_pass_the_check(name, promtool):
    done = promtool("check", "metrics", input=mesh_metrics(report(**REPORTS[name])))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_of_metrics_can_fail(promtool):
    assert promtool("check", "metrics", input="# TYPE badMillis gauge\nbadMillis 1\n").returncode != 0


def test_time_of_the_report_is_not_stale():
    assert f'verification_timestamp_seconds{{vault="http://127.0.0.1:8200"}} {NOW.timestamp():.0f}' in mesh_metrics(
        report(berlin=reading())
    )
