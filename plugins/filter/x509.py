# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on certificates. Each is documented in the YAML file of its name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, strict_pem
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import chains
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    parse,
    pem_bundle,
    pem_texts,
    require_cryptography,
)
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.paths import Reason


def x509_certificates(pem: object) -> list[dict[str, Any]]:
    require_cryptography()
    return [certs.certificate_facts(certificate) for certificate in pem_bundle(pem)]


def x509_pem(pem: object) -> str:
    require_cryptography()
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
    """Return the verdict of x509_chain and trusted_by."""
    require_cryptography()
    inputs, parsed, unreadable = {"The chain": chain, "The anchors": anchors}, [], []
    try:
        name = chains.workload_name(**workload)
        required = chains.requirements(at, profile, key_types, leaf_min_days, anchor_min_days, name)
        for input_name, value in inputs.items():
            try:
                parsed.append(parse(value, input_name))
            except certs.X509Error as exc:
                if profile is None or exc.code != "invalid_certificate":
                    raise
                # Go may be able to parse it. Without parsing it here, Linkerd cannot be predicted.
                unreadable.append(Reason("unreadable", str(exc), f"the {input_name.removeprefix('The ')}"))
    except (certs.X509Error, TypeError) as exc:
        raise AnsibleFilterError(str(exc)) from exc
    if unreadable:
        return chains.Verdict([], unreadable)
    texts = [pem_texts(value, input_name) for input_name, value in inputs.items()]
    return chains.verify(parsed[0], parsed[1], required, (texts[0], texts[1]))


def x509_chain(chain: object, anchors: object, **requirements: Any) -> dict[str, Any]:
    return chain_verdict(chain, anchors, **requirements).facts()


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"x509_certificates": x509_certificates, "x509_chain": x509_chain, "x509_pem": x509_pem}
