# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a CA's certificate, and where one is otherwise. No requests. Private to this collection."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.servicemesh.pki.plugins.module_utils._common import drift as common_drift
from ansible_collections.servicemesh.pki.plugins.module_utils._common import durations
from ansible_collections.servicemesh.pki.plugins.module_utils._vault import pki
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.connection import Vault
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.errors import VaultError
from ansible_collections.servicemesh.pki.plugins.module_utils._vault.pki import Issuer
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import ExtensionOID, NameOID, x509

SUBJECT = {
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
# Option of the module and of the API -> the kind of name in the certificate, and which half of the constraints.
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
NOT_EVERYWHERE = tuple(name for name in CONSTRAINTS if name != "permitted_dns_domains")
SERVER_LONGEST = 768 * 3600  # max_lease_ttl of a server that is not configured otherwise
SLACK = 120  # seconds: Vault dates the start of a certificate back by 30, or as the option says

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
# As lists, since a value such as "Acme, Inc." may hold a comma. Vault takes alt_names as one text only.
SENT_AS_LIST = (
    *(name for name in SUBJECT if name not in SENT_AS_GIVEN),
    "alt_names",
    "ip_sans",
    "uri_sans",
    "other_sans",
    *CONSTRAINTS,
)


def checked(params: dict[str, Any]) -> dict[str, Any]:
    """The options with durations in seconds and the key's bits, or the first thing wrong with them."""
    bits = pki.check_key(params["key_type"], params["key_bits"])
    if not (params["common_name"] or "").strip():
        raise VaultError("common_name is empty, so nothing would name the CA. Give it a name.", code="invalid_name")
    if (params["max_path_length"] or 0) < -1:
        raise VaultError("max_path_length has to be -1 for no limit, or 0 and more.")
    whole = {**params, "key_bits": bits, "minimum_remaining": durations.seconds(params["minimum_remaining"])}
    if params["ttl"] is not None:
        whole["ttl"] = durations.positive("ttl", params["ttl"])
    if params["not_before_duration"] is not None:
        whole["not_before_duration"] = durations.zero_or_more("not_before_duration", params["not_before_duration"])
    whole |= {name: list(dict.fromkeys(params[name])) for name in SENT_AS_LIST if params[name]}
    check_networks(whole)
    if params["not_after"] is not None:
        end = moment(params["not_after"])
        if end <= datetime.now(UTC):
            raise VaultError(f"not_after {params['not_after']} is in the past. Give a later one.")
        whole["not_after"] = certs.iso(end)  # the one way of ISO 8601 that Vault reads
    if lifetime(whole) <= whole["minimum_remaining"]:
        given = f"ttl {params['ttl']}" if params["ttl"] else f"not_after {params['not_after']}"
        raise VaultError(
            f"{given} is not longer than minimum_remaining {params['minimum_remaining']}, "
            "so the certificate would be too old from the start. Ask for a lower minimum_remaining."
        )
    return whole


def check_networks(options: dict[str, Any]) -> None:
    for name in ("permitted_ip_ranges", "excluded_ip_ranges"):
        for text in options[name] or []:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise VaultError(f"{name}: {text!r} is no network. Write it like 10.0.0.0/8.") from None
            if str(network) != text.lower():
                raise VaultError(f"{name}: {text!r} is no network. Write it as {network}.")


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise VaultError(f"not_after {text!r} is no time: write it like 2027-03-31T12:00:00Z.") from None


def request(options: dict[str, Any]) -> dict[str, Any]:
    """What Vault is sent."""
    data = {name: options[name] for name in SENT_AS_GIVEN if options[name] is not None}
    data |= {name: options[name] for name in SENT_AS_LIST if options[name]}
    if options["alt_names"]:
        data["alt_names"] = ",".join(options["alt_names"])
    data |= {name: f"{options[name]}s" for name in ("ttl", "not_before_duration") if options[name] is not None}
    if options["max_path_length"] is not None:
        data["max_path_length"] = options["max_path_length"]
    return {**data, "key_bits": options["key_bits"]}


def drift(options: dict[str, Any], certificate: x509.Certificate, now: datetime) -> common_drift.Differences:
    """Where an existing certificate is otherwise than asked. What was not asked is not looked at."""
    wanted = {name: options[name] for name in (*SUBJECT, *CONSTRAINTS, "max_path_length") if options[name] is not None}
    found = {**subject(certificate), **constraints(certificate), **basic(certificate), **key(certificate)}
    wanted |= {"key_type": options["key_type"], "key_bits": options["key_bits"], "is_ca": True}
    differing = common_drift.differences(wanted, found)
    differing |= dates(options, certificate, now)
    return differing


def dates(options: dict[str, Any], certificate: x509.Certificate, now: datetime) -> common_drift.Differences:
    end = certificate.not_valid_after_utc
    back = 30 if options["not_before_duration"] is None else options["not_before_duration"]
    life = int((end - certificate.not_valid_before_utc).total_seconds())
    left = int((end - now).total_seconds())
    differing: common_drift.Differences = {}
    if options["ttl"] and abs(life - back - options["ttl"]) > SLACK:
        rounded = life - back
        differing["ttl"] = {"wanted": durations.text(options["ttl"]), "found": durations.text(max(rounded, 0))}
    if options["not_after"] and abs((moment(options["not_after"]) - end).total_seconds()) > 1:
        differing["not_after"] = {"wanted": options["not_after"], "found": end.isoformat()}
    if left <= options["minimum_remaining"]:
        at_least = durations.text(options["minimum_remaining"])
        told = left - left % 60 if left > 3600 else left  # seconds matter to nobody then
        found = durations.text(told) if left > 0 else f"expired since {end.isoformat()}"
        differing["minimum_remaining"] = {"wanted": at_least, "found": found}
    return differing


def subject(certificate: x509.Certificate) -> dict[str, Any]:
    values = {
        name: [found.value for found in certificate.subject.get_attributes_for_oid(oid)]
        for name, oid in SUBJECT.items()
    }
    return {
        name: value[0] if name in ("common_name", "serial_number") and value else value
        for name, value in values.items()
    }


def key(certificate: x509.Certificate) -> dict[str, Any]:
    kind, bits, dummy = certs.key_facts(certificate)
    return {"key_type": kind, "key_bits": 0 if kind == "ed25519" else bits}  # Vault counts none there


def basic(certificate: x509.Certificate) -> dict[str, Any]:
    found = certs.extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    limit = found.path_length if found else None
    return {"is_ca": bool(found and found.ca), "max_path_length": -1 if limit is None else limit}


def constraints(certificate: x509.Certificate) -> dict[str, list[str]]:
    found = certs.extension(certificate, ExtensionOID.NAME_CONSTRAINTS)
    return {
        name: [str(entry.value) for entry in getattr(found, half, None) or [] if isinstance(entry, kind)]
        for name, (kind, half) in CONSTRAINTS.items()
    }


def lifetime(options: dict[str, Any]) -> int:
    """Seconds from now that the certificate shall live."""
    if options["ttl"]:
        return int(options["ttl"])
    return int((moment(options["not_after"]) - datetime.now(UTC)) / timedelta(seconds=1))


def check_lifetime(options: dict[str, Any], mount: str, longest: int) -> None:
    """Vault cuts what is too long, HashiCorp's without a word; so it is refused before. 0 is a limit not known."""
    if lifetime(options) <= (longest or SERVER_LONGEST):
        return
    given = options["not_after"] or durations.text(options["ttl"])
    if longest:
        raise VaultError(
            f"The mount {mount} issues for {durations.text(longest)} at most, wanted is {given}. "
            "Raise its max_lease_ttl first (vault_engine), or ask for less."
        )
    raise VaultError(
        f"The mount {mount} has no max_lease_ttl of its own, and the token may not ask for the server's, which is "
        f"{durations.text(SERVER_LONGEST)} if nobody changed it; wanted is {given}. Give the mount one (vault_engine), "
        f'or the token the right: path "sys/mounts/{mount}/tune" {{ capabilities = ["read"] }}'
    )


def check_known(vault: Vault, where: str, options: dict[str, Any]) -> None:
    """OpenBao ignores what only HashiCorp Vault has, and makes a CA without it; so it is refused before."""
    seldom = [name for name in NOT_EVERYWHERE if options[name]]
    if not seldom and options["key_bits"] != 8192:
        return
    product, known = vault.describe(where)
    if not product:
        return
    unknown = [name for name in seldom if name not in known]
    if unknown:
        raise VaultError(
            f"{product} at {vault.url} does not know {', '.join(unknown)}. Nothing was made. Leave it out."
        )
    if options["key_bits"] == 8192 and product == "OpenBao":
        raise VaultError(f"OpenBao at {vault.url} makes no RSA keys of 8192 bits. Nothing was made. Ask for 4096.")


def judge(
    module: Any, options: dict[str, Any], found: Issuer, ours: bool, parent: Issuer | None = None
) -> common_drift.Differences:
    """What to do about an issuer that is not as asked."""
    differing = drift(options, found.certificate, datetime.now(UTC))
    if parent and not pki.signed_by(parent, found.certificate):
        issuer = found.certificate.issuer.rfc4514_string()
        wanted = f"{parent.issuer_name} of {parent.mount}"
        differing["parent_issuer"] = {"wanted": wanted, "found": f"a key of {issuer}"}
    if not found.key_id:
        differing["key"] = {"wanted": "in Vault", "found": "not in this mount"}
    if not differing:
        return {}
    listed = common_drift.sentence(differing)
    if ours:
        message = f"Vault made issuer {found.issuer_name} of {found.mount} otherwise than asked: {listed}. "
        message += "Nothing trusts it yet: remove it (state absent, force), correct the options, run again."
        raise VaultError(message, differences=differing, issuer=found.facts())
    message = f"Issuer {found.issuer_name} of {found.mount} exists and differs: {listed}. "
    if options["on_drift"] == "fail":
        message += "A certificate cannot be changed: correct the options, or make another root under another name."
        raise VaultError(message, differences=differing, issuer=found.facts())
    if options["on_drift"] == "warn":
        module.warn(message.rstrip())
    return differing


def predicted(options: dict[str, Any], everything: list[Issuer]) -> dict[str, Any]:
    """What is known of a root before it exists. None is what only Vault can tell."""
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
    changed: bool, before: dict[str, Any], after: dict[str, Any], differing: common_drift.Differences
) -> dict[str, Any]:
    diff = {"before": common_drift.view(before, SHOWN), "after": common_drift.view(after, SHOWN)}
    return dict(changed=changed, issuer=after, differences=differing, diff=diff)
