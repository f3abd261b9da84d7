# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on certificates. Each is documented in the YAML file of its name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import x509
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains


def pem_texts(value: object, what: str) -> list[bytes]:
    """The texts of a PEM text, or of a list of them."""
    texts = value if isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str | bytes):
            raise AnsibleFilterError(f"{what} must be PEM text or a list of PEM texts, not {type(text).__name__}")
    return [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]


def pem_bundle(value: object, what: str = "The input") -> list[x509.Certificate]:
    """Certificates of a PEM text, or of a list of them."""
    certificates = []
    for text in pem_texts(value, what):
        try:
            certificates += certs.parse_bundle(text)
        except certs.X509Error as exc:
            raise AnsibleFilterError(f"{what}: {exc}") from exc
    if not certificates:
        raise AnsibleFilterError(f"{what} holds no certificate, wanted is at least one")
    return certificates


def x509_certificates(pem: object) -> list[dict[str, Any]]:
    return [certs.certificate_facts(certificate) for certificate in pem_bundle(pem)]


def x509_pem(pem: object) -> str:
    return strict_pem.encode(pem_bundle(pem))


def chain_verdict(
    chain: object,
    anchors: object,
    at: str | datetime | None = None,
    profile: str | None = None,
    key_types: list[str] | str | None = None,
    leaf_min_days: float = 0,
    anchor_min_days: float = 0,
    **workload: str,
) -> chains.Verdict:
    try:
        name = chains.workload_name(**workload)
        wanted = chains.requirements(at, profile, key_types, leaf_min_days, anchor_min_days, name)
    except (certs.X509Error, TypeError) as exc:
        raise AnsibleFilterError(str(exc)) from exc
    given = {"The chain": chain, "The anchors": anchors}
    first, second = (pem_bundle(value, what) for what, value in given.items())
    texts = [pem_texts(value, what) for what, value in given.items()]
    return chains.verify(first, second, wanted, (texts[0], texts[1]))


def x509_chain(chain: object, anchors: object, **requirements: Any) -> dict[str, Any]:
    return chain_verdict(chain, anchors, **requirements).facts()


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"x509_certificates": x509_certificates, "x509_chain": x509_chain, "x509_pem": x509_pem}
