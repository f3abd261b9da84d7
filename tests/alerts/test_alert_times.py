# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts on series that need more than one evaluation: errors that are repeated, and series that vanish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

MINUTE = 60
LABELS = {"cluster": "c"}


@dataclass
class Retries:
    """An alert on the errors of a controller, which doubles the delay in seconds after each one up to a limit."""

    alert: str
    series: str
    labels: dict[str, str]
    first: float
    limit: float
    soonest: int  # minutes after which it fires

    def counter(self, end: int) -> Callable[[int], int]:
        """The number of errors when nothing succeeds from minute 60 to `end`."""
        errors, delay = [60.0 * MINUTE], self.first
        while errors[-1] + delay < end * MINUTE:
            errors.append(errors[-1] + delay)
            delay = min(2 * delay, self.limit)
        return lambda minute: sum(error <= minute * MINUTE for error in errors)


RETRIES = {
    "trust-manager": Retries(
        "MeshBundleNotSynced",
        'controller_runtime_reconcile_errors_total{cluster="c", controller="bundles"}',
        {**LABELS, "object": "the Bundles"},
        0.005,
        1000,
        30,
    ),
    "cert-manager": Retries(
        "MeshCertificateRequestRefused",
        'certmanager_controller_sync_error_count{cluster="c", controller="certificaterequests-issuer-vault"}',
        {**LABELS, "object": "a Certificate of a Vault issuer"},
        5,
        300,
        20,
    ),
}


@pytest.mark.parametrize("name", RETRIES)
def test_one_error_of_a_controller_fires_nothing(name, expect):
    one = RETRIES[name]
    expect(one.alert, {one.series: lambda minute: int(minute >= 60)}, range(60, 240))


@pytest.mark.parametrize(("name", "errors"), [("trust-manager", 8), ("cert-manager", 4)])
def test_errors_of_one_minute_fire_nothing(name, errors, expect):
    """The API server or Vault restarts: the first delays are so short that several retries fail."""
    one = RETRIES[name]
    expect(one.alert, {one.series: lambda minute: errors * (minute >= 60)}, range(60, 240))


@pytest.mark.parametrize("name", RETRIES)
def test_lasting_error_of_a_controller_fires_without_a_gap(name, expect):
    one = RETRIES[name]
    expect(one.alert, {one.series: one.counter(400)}, range(60 + one.soonest, 400), one.labels)


@pytest.mark.parametrize("name", RETRIES)
def test_alert_on_errors_recovers_soon(name, expect):
    """Although errors were frequent shortly before."""
    one = RETRIES[name]
    expect(one.alert, {one.series: one.counter(120)}, range(140, 200))


HOURS = 3  # after which a verification is stale here


def verified(cluster: str) -> str:
    return f'servicemesh_pki_cluster_verification_timestamp_seconds{{cluster="{cluster}"}}'


@pytest.fixture
def expect_stale(expect_with) -> Callable[..., None]:
    """A function for series, minutes, and the clusters that are stale then."""
    expect = expect_with(monitoring_verification_hours=HOURS)
    return lambda series, minutes, *clusters: expect(
        "MeshVerificationStale", series, minutes, *({"cluster": cluster} for cluster in clusters)
    )


def vanishes(minute: int) -> int | None:
    return minute * MINUTE if minute <= 60 else None


def test_cluster_that_vanished_is_stale_beside_another(expect_stale):
    """The runner of b stops, or a run leaves b out, while a is verified every hour with the same Vault."""
    series = {
        verified("a"): lambda minute: minute // 60 * 3600,
        verified("b"): vanishes,
        'servicemesh_pki_verification_timestamp_seconds{vault="v"}': lambda minute: minute // 60 * 3600,
    }
    limit = 60 + HOURS * 60
    expect_stale(series, range(limit))
    expect_stale(series, range(limit + 11, limit + 400), "b")


def test_series_of_all_clusters_that_vanish_are_stale(expect_stale):
    """The Pushgateway restarts without its data."""
    expect_stale({verified(name): vanishes for name in "ab"}, [60 + HOURS * 60 + 11], "a", "b")


def test_cluster_that_is_verified_again_is_not_stale(expect_stale):
    def with_a_gap(minute: int) -> int | None:
        return minute * MINUTE if minute <= 60 or minute > 300 else None

    expect_stale({verified("a"): with_a_gap}, [300], "a")
    expect_stale({verified("a"): with_a_gap}, [302, 400])


def test_verification_can_be_stale_after_less_than_an_hour(expect_with):
    expect = expect_with(monitoring_verification_hours=0.5)
    expect("MeshVerificationStale", {verified("a"): vanishes}, range(90))
    expect("MeshVerificationStale", {verified("a"): vanishes}, [90 + 11], {"cluster": "a"})


@pytest.mark.parametrize(
    ("days", "severity"), [(1.1, None), (0.9, "warning"), (0.6, "warning"), (0.4, "critical"), (-1, "critical")]
)
def test_short_credential_has_its_own_limits(expect_with, days, severity):
    expect = expect_with(monitoring_credential_days=1, monitoring_credential_critical_days=0.5)
    labels = [{"cluster": "c", "object": "o", "severity": severity}] if severity else []
    series = 'servicemesh_pki_credential_not_after_timestamp_seconds{cluster="c", object="o"}'
    expect("MeshVaultCredentialExpires", {series: lambda minute: (60 + days * 1440) * MINUTE}, [60], *labels)
