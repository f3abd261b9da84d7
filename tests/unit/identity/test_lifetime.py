# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validity of an identity issuer, compared with cert-manager's limits and the trust anchor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.servicemesh.pki.plugins.filter.identity import identity_lifetime

END = datetime(2027, 2, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def anchor() -> str:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root.test")]),
    )
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(END - timedelta(days=90)).not_valid_after(END).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def test_durations_of_workshop_fit_new_root(anchor):
    plan = identity_lifetime(anchor, "48h", "25h", at="2026-11-24T12:00:00Z")
    assert plan == {
        "problems": [],
        "last_issue": "2027-02-20T12:00:00Z",
        "ttl": "48h0m0s",
        "renew_before_seconds": 25 * 3600,
    }


@pytest.mark.parametrize(("at", "fits"), [("2027-02-20T12:00:00Z", True), ("2027-02-20T12:00:01Z", False)])
def test_last_issue(anchor, at, fits):
    assert (identity_lifetime(anchor, "48h", "25h", at=at)["problems"] == []) == fits


def test_issuer_that_outlives_its_anchor(anchor):
    (problem,) = identity_lifetime([anchor], "96h", "25h", at="2027-02-20T12:00:00Z")["problems"]
    assert all(part in problem for part in ("96h", "CN=root.test", "2027-02-22T12:00:00Z", "48h"))


def test_expired_anchor(anchor):
    (problem,) = identity_lifetime(anchor, "48h", "25h", at=END)["problems"]
    assert all(part in problem for part in ("CN=root.test", "expired at 2027-02-22T12:00:00Z"))


@pytest.mark.parametrize(
    ("duration", "renew_before", "part"),
    [
        ("30m", "10m", "1h"),
        ("48h", "1m", "5m"),
        ("24h", "24h", "24h"),
    ],
)
def test_limits_of_cert_manager(duration, renew_before, part):
    (problem,) = identity_lifetime("", duration, renew_before)["problems"]
    assert part in problem


@pytest.mark.parametrize("duration", ["2d", "1w", "1d12h", "172800", "48h ", 172800])
def test_duration_that_only_vault_reads(anchor, duration):
    """cert-manager uses Go's time.ParseDuration: no days, no weeks, no number without a unit."""
    (problem,) = identity_lifetime(anchor, duration, "25h", at="2026-11-24T12:00:00Z")["problems"]
    assert f" {duration}." in problem
    (problem,) = identity_lifetime(anchor, "960h", duration, at="2026-11-24T12:00:00Z")["problems"]
    assert f" {duration}." in problem


@pytest.mark.parametrize("duration", ["48h", "47h60m", "2880m", "172800s", "47.5h30m", "48h0.5s", "172800000ms"])
def test_duration_that_cert_manager_reads(anchor, duration):
    assert identity_lifetime(anchor, duration, "25h", at="2026-11-24T12:00:00Z")["problems"] == []


def test_time_after_year_9999_is_an_error(anchor):
    with pytest.raises(AnsibleFilterError, match="at 9999-12-31T23:59:59-05:00"):
        identity_lifetime(anchor, "48h", "25h", at="9999-12-31T23:59:59-05:00")


def test_invalid_duration_is_an_error():
    with pytest.raises(AnsibleFilterError, match="soon"):
        identity_lifetime([], "soon", "1h")
