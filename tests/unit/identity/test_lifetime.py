# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an identity issuer fits into the life of its anchor."""

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


def test_the_workshops_durations_fit_a_fresh_root(anchor):
    plan = identity_lifetime(anchor, "48h", "25h", at="2026-11-24T12:00:00Z")
    assert plan == {"problems": [], "last_issue": "2027-02-20T12:00:00Z"}


@pytest.mark.parametrize(("at", "fits"), [("2027-02-20T12:00:00Z", True), ("2027-02-20T12:00:01Z", False)])
def test_the_last_moment(anchor, at, fits):
    assert (identity_lifetime(anchor, "48h", "25h", at=at)["problems"] == []) == fits


def test_an_issuer_that_would_outlive_its_anchor(anchor):
    (problem,) = identity_lifetime([anchor], "96h", "25h", at="2027-02-20T12:00:00Z")["problems"]
    assert problem == (
        "An identity issuer for 96h would outlive its trust anchor CN=root.test, which ends at 2027-02-22T12:00:00Z, "
        "in 48h. Make a new root, or shorten the duration."
    )


def test_an_anchor_that_has_ended(anchor):
    (problem,) = identity_lifetime(anchor, "48h", "25h", at=END)["problems"]
    assert problem == (
        "The trust anchor CN=root.test has ended at 2027-02-22T12:00:00Z. Make a new root before anything else."
    )


@pytest.mark.parametrize(
    ("duration", "renew_before", "part"),
    [
        ("30m", "10m", "shorter than the 1h"),
        ("48h", "1m", "less than the 5m"),
        ("24h", "24h", "has to be less than the duration 24h"),
    ],
)
def test_what_cert_manager_refuses(duration, renew_before, part):
    (problem,) = identity_lifetime("", duration, renew_before)["problems"]
    assert part in problem


@pytest.mark.parametrize("duration", ["2d", "1w", "1d12h", "172800", "48h ", 172800])
def test_what_vault_reads_and_cert_manager_does_not(anchor, duration):
    """Go's time.ParseDuration reads it for cert-manager: no day, no week, no number without a unit."""
    (problem,) = identity_lifetime(anchor, duration, "25h", at="2026-11-24T12:00:00Z")["problems"]
    assert problem == f"cert-manager cannot read the duration {duration}: write it in h, m and s, such as 48h."
    problems = identity_lifetime(anchor, "960h", duration, at="2026-11-24T12:00:00Z")["problems"]
    assert problems == [f"cert-manager cannot read the duration {duration}: write it in h, m and s, such as 48h."]


@pytest.mark.parametrize("duration", ["48h", "47h60m", "2880m", "172800s", "47.5h30m", "48h0.5s", "172800000ms"])
def test_what_cert_manager_reads(anchor, duration):
    assert identity_lifetime(anchor, duration, "25h", at="2026-11-24T12:00:00Z")["problems"] == []


def test_a_time_after_all_times(anchor):
    with pytest.raises(
        AnsibleFilterError, match=r"^Life of the identity issuer: at 9999-12-31T23:59:59-05:00 is outside"
    ):
        identity_lifetime(anchor, "48h", "25h", at="9999-12-31T23:59:59-05:00")


def test_no_duration():
    with pytest.raises(AnsibleFilterError, match="Life of the identity issuer: 'soon' is not a duration"):
        identity_lifetime([], "soon", "1h")
