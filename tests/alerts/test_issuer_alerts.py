# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the alerts on the identity issuer conclude from several sources: cert-manager, Linkerd and report.prom."""

from __future__ import annotations

import pytest

HOUR, MINUTE = 3600, 60
END = "certmanager_certificate_expiration_timestamp_seconds"
END += '{cluster="c", namespace="linkerd", name="linkerd-identity-issuer"}'
RENEWAL = END.replace("expiration", "renewal")
TTL = 'issuer_cert_ttl_seconds{cluster="c", pod="p"}'
REPORTED = 'servicemesh_pki_certificate_not_after_timestamp_seconds{cluster="c", source="issuer"}'
VERIFIED = 'servicemesh_pki_cluster_verification_timestamp_seconds{cluster="c"}'
READY = 'certmanager_issuer_ready_status{cluster="c", namespace="linkerd", name="vault", condition="True"}'
CLUSTER_READY = 'certmanager_clusterissuer_ready_status{cluster="c", name="vault", condition="True"}'
REPORTED_READY = 'servicemesh_pki_cert_manager_issuer_ready{cluster="c", object="reported"}'


def constant(value: float):
    return lambda dummy: value


def test_report_is_no_reason_for_an_alert_beside_metrics_of_the_cluster(expect):
    series = {REPORTED: constant(5 * HOUR), VERIFIED: constant(0), END: constant(40 * HOUR)}
    expect("MeshIdentityIssuerExpires", series, [60])


@pytest.mark.parametrize("source", [END, TTL, REPORTED])
def test_short_issuer_is_an_alert_only_if_cert_manager_does_not_renew_it(expect, source):
    """Of a Certificate that others created, for example for 24 hours, to be renewed when 8 hours are left."""
    left = {"issuer_cert_ttl_seconds": lambda minute: 24 * HOUR - minute * MINUTE}
    series = {
        source: left.get(source.partition("{")[0], constant(24 * HOUR)),
        RENEWAL: constant(16 * HOUR),
        VERIFIED: lambda minute: minute * MINUTE,
    }
    expect("MeshIdentityIssuerExpires", series, [13 * 60, 16 * 60 + 5])
    expect("MeshIdentityIssuerExpires", series, [16 * 60 + 20], {"cluster": "c", "severity": "critical"})


def test_issuer_that_was_in_order_in_an_old_report_is_no_alert(expect):
    """Of a daily schedule: cert-manager has renewed the issuer since."""
    expect("MeshIdentityIssuerExpires", {REPORTED: constant(17 * HOUR), VERIFIED: constant(0)}, [60, 6 * 60, 20 * 60])


def test_issuer_that_was_renewed_since_the_report_is_no_alert(expect):
    overdue = 'servicemesh_pki_disagreements{cluster="c", code="renewal_overdue", allowed="false"}'
    expect("MeshIdentityIssuerNotRenewed", {overdue: constant(1), RENEWAL: constant(40 * HOUR)}, [60, 6 * 60])


def test_report_shows_when_the_issuer_expires(expect):
    """A central Prometheus that reads report.prom only."""
    expect("MeshIdentityIssuerUnwatched", {REPORTED: constant(99 * HOUR)}, [90, 180])


def test_issuer_is_unwatched_if_nothing_was_ever_read(expect):
    expect("MeshIdentityIssuerUnwatched", {'up{job="other"}': constant(1)}, [90], {})


def failing(minute: int) -> int:
    return 0 if 60 <= minute < 180 else 1


def test_cluster_issuer_that_is_not_ready(expect_with):
    expect = expect_with(monitoring_issuer_kind="ClusterIssuer")
    labels = {"cluster": "c", "object": "ClusterIssuer vault"}
    reported = REPORTED_READY.replace('"reported"', f'"{labels["object"]}"')
    series = {CLUSTER_READY: failing, reported: failing, READY: constant(1)}
    expect("MeshCertManagerIssuerNotReady", series, [150], labels)
    expect("MeshCertManagerIssuerNotReady", series, [50, 235])


def test_issuer_of_another_kind_with_the_same_name_is_not_of_the_mesh(expect, expect_with):
    alert = "MeshCertManagerIssuerNotReady"
    expect(alert, {READY: constant(1), CLUSTER_READY: constant(0)}, [60])
    expect_with(monitoring_issuer_kind="ClusterIssuer")(alert, {CLUSTER_READY: constant(1), READY: constant(0)}, [60])


@pytest.mark.parametrize(
    ("kind", "series", "where"),
    [("Issuer", READY, "Issuer linkerd/vault"), ("ClusterIssuer", CLUSTER_READY, "ClusterIssuer vault")],
)
def test_issuer_that_is_ready_since_the_report(expect_with, kind, series, where):
    reported = REPORTED_READY.replace('"reported"', f'"{where}"')
    expect = expect_with(monitoring_issuer_kind=kind)
    expect("MeshCertManagerIssuerNotReady", {series: constant(1), reported: constant(0)}, [60])


def test_issuer_of_another_kind_does_not_hide_the_report(expect):
    labels = {"cluster": "c", "object": "reported"}
    expect("MeshCertManagerIssuerNotReady", {REPORTED_READY: constant(0), CLUSTER_READY: constant(1)}, [60], labels)
