# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a CA certificate: validation, request data and drift. Private to this collection."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift, durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import keys, pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import ExtensionOID, NameOID, x509

SUBJECT = {  # Vault's parameter -> attribute of the subject
    "common_name": NameOID.COMMON_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "country": NameOID.COUNTRY_NAME,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "street_address": NameOID.STREET_ADDRESS,
    "postal_code": NameOID.POSTAL_CODE,
    "serial_number": NameOID.SERIAL_NUMBER,
}
# Parameter of the module and of Vault -> type of the name, and attribute of the extension (RFC 5280, section 4.2.1.10).
CONSTRAINTS = {
    f"{half}_{name}": (kind, f"{half}_subtrees")
    for half in ("permitted", "excluded")
    for name, kind in {
        "dns_domains": x509.DNSName,
        "ip_ranges": x509.IPAddress,
        "email_addresses": x509.RFC822Name,
        "uri_domains": x509.UniformResourceIdentifier,
    }.items()
}
SHOWN = ("issuer_name", "common_name", "key_type", "key_bits", "path_length", "is_default", "fingerprint_sha256")
HASHICORP_ONLY = tuple(name for name in CONSTRAINTS if name != "permitted_dns_domains")
SERVER_MAX_TTL = 768 * 3600  # default of max_lease_ttl in the configuration of the server
TOLERANCE = 120  # seconds between the requested and the found validity, for clocks and rounding

AUTHORITY_OPTIONS = dict(
    common_name=dict(type="str"),
    **{name: dict(type="list", elements="str") for name in SUBJECT if name not in ("common_name", "serial_number")},
    serial_number=dict(type="str"),
    alt_names=dict(type="list", elements="str"),
    ip_sans=dict(type="list", elements="str"),
    uri_sans=dict(type="list", elements="str"),
    other_sans=dict(type="list", elements="str"),
    exclude_cn_from_sans=dict(type="bool"),
    key_type=dict(type="str", choices=["ec", "rsa", "ed25519"], default="ec", no_log=False),
    key_bits=dict(type="int", no_log=False),
    signature_bits=dict(type="int", choices=[256, 384, 512]),
    use_pss=dict(type="bool"),
    ttl=dict(type="str"),
    not_after=dict(type="str"),
    not_before_duration=dict(type="str"),
    max_path_length=dict(type="int"),
    **{name: dict(type="list", elements="str") for name in CONSTRAINTS},
    minimum_remaining=dict(type="str", default="0"),
    on_drift=dict(type="str", choices=["fail", "warn", "ignore"], default="fail"),
)
SENT_AS_GIVEN = (
    "common_name",
    "serial_number",
    "exclude_cn_from_sans",
    "key_type",
    "signature_bits",
    "use_pss",
    "not_after",
)
# Sent as lists, because a value such as "Acme, Inc." may contain a comma. Only alt_names must be one string.
SENT_AS_LIST = (
    *(name for name in SUBJECT if name not in SENT_AS_GIVEN),
    "alt_names",
    "ip_sans",
    "uri_sans",
    "other_sans",
    *CONSTRAINTS,
)


def validate_options(params: dict[str, Any]) -> dict[str, Any]:
    """The options with durations in seconds and the size of the key. Raises VaultError for the first invalid one."""
    bits = keys.check_key(params["key_type"], params["key_bits"])
    if not (params["common_name"] or "").strip():
        raise VaultError("common_name is empty. Set it to the name of the CA.", code="invalid_name")
    if (params["max_path_length"] or 0) < -1:
        message = f"max_path_length is {params['max_path_length']}. Set it to -1 (no limit), 0 or more."
        raise VaultError(message, code="invalid_option")
    options = {**params, "key_bits": bits, "minimum_remaining": durations.seconds(params["minimum_remaining"])}
    if params["ttl"] is not None:
        options["ttl"] = durations.positive("ttl", params["ttl"])
    if params["not_before_duration"] is not None:
        options["not_before_duration"] = durations.zero_or_more("not_before_duration", params["not_before_duration"])
    options |= {name: list(dict.fromkeys(params[name])) for name in SENT_AS_LIST if params[name]}
    check_networks(options)
    if params["not_after"] is not None:
        end = parse_timestamp(params["not_after"])
        if end <= datetime.now(UTC):
            message = f"not_after {params['not_after']} is in the past. Set it to a later time."
            raise VaultError(message, code="invalid_option")
        options["not_after"] = certs.iso(end)  # the only ISO 8601 format that Vault reads
    if requested_lifetime(options) <= options["minimum_remaining"]:
        given = f"ttl {params['ttl']}" if params["ttl"] else f"not_after {params['not_after']}"
        raise VaultError(
            f"{given} is not longer than minimum_remaining {params['minimum_remaining']}, so a new certificate would "
            "already be too old. Set a lower minimum_remaining.",
            code="validity_too_short",
        )
    return options


def check_networks(options: dict[str, Any]) -> None:
    for name in ("permitted_ip_ranges", "excluded_ip_ranges"):
        for text in options[name] or []:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                message = f"{name}: {text!r} is not a network. Write it like 10.0.0.0/8."
                raise VaultError(message, code="invalid_option") from None
            if str(network) != text.lower():
                raise VaultError(f"{name}: {text!r} is not a network. Write it as {network}.", code="invalid_option")


def parse_timestamp(text: str) -> datetime:
    """An ISO 8601 time in UTC. Raises VaultError."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"not_after {text!r} is not a time. Write it like 2027-03-31T12:00:00Z."
        raise VaultError(message, code="invalid_option") from None


def request_data(options: dict[str, Any]) -> dict[str, Any]:
    """The parameters of Vault's API (/pki/root/generate, /pki/root/sign-intermediate)."""
    data = {name: options[name] for name in SENT_AS_GIVEN if options[name] is not None}
    data |= {name: options[name] for name in SENT_AS_LIST if options[name]}
    if options["alt_names"]:
        data["alt_names"] = ",".join(options["alt_names"])
    data |= {name: f"{options[name]}s" for name in ("ttl", "not_before_duration") if options[name] is not None}
    if options["max_path_length"] is not None:
        data["max_path_length"] = options["max_path_length"]
    return {**data, "key_bits": options["key_bits"]}


def find_drift(options: dict[str, Any], certificate: x509.Certificate, now: datetime) -> drift.Differences:
    """Where an existing certificate differs from the options. Options that are not set are not compared."""
    expected = {
        name: options[name] for name in (*SUBJECT, *CONSTRAINTS, "max_path_length") if options[name] is not None
    }
    expected |= {"key_type": options["key_type"], "key_bits": options["key_bits"], "is_ca": True}
    found = {
        **subject_fields(certificate),
        **name_constraints(certificate),
        **basic_constraints(certificate),
        **key_fields(certificate),
    }
    return drift.differences(expected, found) | validity_drift(options, certificate, now)


def validity_drift(options: dict[str, Any], certificate: x509.Certificate, now: datetime) -> drift.Differences:
    end = certificate.not_valid_after_utc
    backdated = 30 if options["not_before_duration"] is None else options["not_before_duration"]
    ttl = int((end - certificate.not_valid_before_utc).total_seconds()) - backdated
    remaining = int((end - now).total_seconds())
    differing: drift.Differences = {}
    if options["ttl"] and abs(ttl - options["ttl"]) > TOLERANCE:
        differing["ttl"] = {
            "expected": durations.to_text(options["ttl"]),
            "found": durations.to_text(max(ttl, 0)),
        }
    if options["not_after"] and abs((parse_timestamp(options["not_after"]) - end).total_seconds()) > 1:
        differing["not_after"] = {"expected": options["not_after"], "found": end.isoformat()}
    if remaining <= options["minimum_remaining"]:
        minimum = durations.to_text(options["minimum_remaining"])
        rounded = remaining - remaining % 60 if remaining > 3600 else remaining
        found = durations.to_text(rounded) if remaining > 0 else f"expired since {end.isoformat()}"
        differing["minimum_remaining"] = {"expected": minimum, "found": found}
    return differing


def subject_fields(certificate: x509.Certificate) -> dict[str, Any]:
    values = {
        name: [found.value for found in certificate.subject.get_attributes_for_oid(oid)]
        for name, oid in SUBJECT.items()
    }
    return {
        name: value[0] if name in ("common_name", "serial_number") and value else value
        for name, value in values.items()
    }


def key_fields(certificate: x509.Certificate) -> dict[str, Any]:
    kind, bits, dummy = certs.key_facts(certificate)
    return {"key_type": kind, "key_bits": 0 if kind == "ed25519" else bits}  # Vault's key_bits of ed25519 is 0


def basic_constraints(certificate: x509.Certificate) -> dict[str, Any]:
    found = certs.extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    limit = found.path_length if found else None
    return {"is_ca": bool(found and found.ca), "max_path_length": -1 if limit is None else limit}


def name_constraints(certificate: x509.Certificate) -> dict[str, list[str]]:
    found = certs.extension(certificate, ExtensionOID.NAME_CONSTRAINTS)
    return {
        name: [str(entry.value) for entry in getattr(found, half, None) or [] if isinstance(entry, kind)]
        for name, (kind, half) in CONSTRAINTS.items()
    }


def requested_lifetime(options: dict[str, Any]) -> int:
    """The seconds from now until the requested end of the certificate."""
    if options["ttl"]:
        return int(options["ttl"])
    return int((parse_timestamp(options["not_after"]) - datetime.now(UTC)) / timedelta(seconds=1))


def check_lifetime(options: dict[str, Any], mount: str, max_ttl: int) -> None:
    """Fail if the certificate would outlive the limit of its mount, because Vault shortens it without an error.

    `max_ttl` is in seconds, 0 if it is not known.
    """
    if requested_lifetime(options) <= (max_ttl or SERVER_MAX_TTL):
        return
    given = options["not_after"] or durations.to_text(options["ttl"])
    if max_ttl:
        raise VaultError(
            f"The mount {mount} issues certificates for at most {durations.to_text(max_ttl)}, requested is {given}. "
            "Raise its max_lease_ttl first (vault_engine), lower ttl, or set an earlier not_after.",
            code="validity_too_long",
            mount=mount,
        )
    raise VaultError(
        f"The mount {mount} has no max_lease_ttl, and the token cannot read the limit of the server, which is "
        f"{durations.to_text(SERVER_MAX_TTL)} by default; requested is {given}. Set max_lease_ttl of the mount "
        f'(vault_engine), or add this rule to the policy: path "sys/mounts/{mount}/tune" {{ capabilities = ["read"] }}',
        code="validity_too_long",
        mount=mount,
    )


def check_supported(vault: Vault, path: str, options: dict[str, Any]) -> None:
    """Fail for options that only HashiCorp Vault has, because OpenBao ignores them without an error."""
    special = [name for name in HASHICORP_ONLY if options[name]]
    if not special and options["key_bits"] != 8192:
        return
    product, known = vault.describe(path)
    if not product:
        return
    unknown = [name for name in special if name not in known]
    if unknown:
        raise VaultError(
            f"{product} at {vault.url} does not support {', '.join(unknown)}. Nothing was created. Remove the option.",
            code="unsupported_option",
        )
    if options["key_bits"] == 8192 and product == "OpenBao":
        raise VaultError(
            f"OpenBao at {vault.url} does not support RSA keys of 8192 bits. Nothing was created. Set key_bits to "
            "4096.",
            code="unsupported_option",
        )


def evaluate_drift(
    module: Any, options: dict[str, Any], found: Issuer, created: bool, parent: Issuer | None = None
) -> drift.Differences:
    """The differences between an issuer and the options, after a warning or a VaultError as `on_drift` requires.

    `created` is true for an issuer of this run, which must not differ at all.
    """
    differing = find_drift(options, found.certificate, datetime.now(UTC))
    if parent and not pki.is_signed_by(parent, found.certificate):
        signer = found.certificate.issuer.rfc4514_string()
        expected = f"{parent.issuer_name} in mount {parent.mount}"
        differing["parent_issuer"] = {"expected": expected, "found": f"a key of {signer}"}
    if not found.key_id:
        differing["key"] = {"expected": "in Vault", "found": "not in this mount"}
    if not differing:
        return {}
    facts = found.facts()
    name, listed = f"Issuer {found.issuer_name} in mount {found.mount}", drift.describe(differing)
    if created:
        raise VaultError(
            f"{name} was created and does not match the request: {listed}. Nothing trusts it yet. Remove it (state "
            "absent, force), correct the options, and run again.",
            code="issuer_mismatch",
            differences=differing,
            issuer=facts,
        )
    mismatch = f"{name} does not match: {listed}."
    if options["on_drift"] == "fail":
        raise VaultError(
            f"{mismatch} A certificate cannot be changed. Correct the options, or create an issuer with another name.",
            code="issuer_mismatch",
            differences=differing,
            issuer=facts,
        )
    if options["on_drift"] == "warn":
        module.warn(mismatch)
    return differing


def predict_issuer(options: dict[str, Any], everything: list[Issuer]) -> dict[str, Any]:
    """The facts of an issuer that does not exist yet, for check mode. None is what only Vault decides."""
    return {
        "mount": options["mount"],
        "issuer_name": options["issuer_name"],
        "common_name": options["common_name"],
        "key_type": options["key_type"],
        "key_bits": options["key_bits"] or None,
        "path_length": None if options["max_path_length"] == -1 else options["max_path_length"],
        "is_default": True if options["default"] or not everything else None,
        "issuer_id": None,
        "certificate": None,
    }


def result(
    changed: bool, before: dict[str, Any], after: dict[str, Any], differing: drift.Differences
) -> dict[str, Any]:
    """The return values of a module that manages a CA."""
    diff = {"before": drift.select(before, SHOWN), "after": drift.select(after, SHOWN)}
    return dict(changed=changed, issuer=after, differences=differing, diff=diff)
