# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Input of the filters and tests on certificates. Errors are AnsibleFilterError. Private to this collection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import UNEXPECTED
from ansible_collections.servicemesh.pki.plugins.module_utils._x509 import certs, cryptography
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import Encoding, x509


def require_cryptography() -> None:
    """Raise an error that names the library if it is not installed for the Python of ansible-core."""
    if cryptography.MISSING:
        raise AnsibleFilterError(cryptography.missing())


@contextlib.contextmanager
def readable(name: str, expected: str, *others: type[Exception]) -> Iterator[None]:
    """Turn errors about the input of a filter into AnsibleFilterError.

    `name` is the filter, `expected` the input that it needs, and `others` are more errors that unusable input raises.
    """
    unusable: tuple[type[Exception], ...] = (*others, *UNEXPECTED)
    try:
        yield
    except certs.X509Error as exc:
        raise AnsibleFilterError(str(exc)) from exc
    except unusable as exc:
        raise AnsibleFilterError(f"{name} cannot read its input ({type(exc).__name__}). Give it {expected}.") from exc


def pem_texts(value: object, name: str) -> list[bytes]:
    """Return the PEM texts of an input that is a text or a list of texts."""
    texts: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str | bytes):
            raise AnsibleFilterError(f"{name} must be PEM text or a list of PEM texts, not {type(text).__name__}")
    return [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]


def parse(value: object, name: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text or a list of them. Raises X509Error with the name of the input."""
    certificates = []
    for text in pem_texts(value, name):
        try:
            certificates += certs.parse_bundle(text)
        except certs.X509Error as exc:
            raise certs.X509Error(f"{name}: {exc}", code=exc.code) from exc
    if not certificates:
        raise certs.X509Error(
            f"{name} must be PEM with at least one certificate, not an empty list", code="invalid_pem"
        )
    return certificates


def by_fingerprint(value: object) -> dict[str, str]:
    """Return the certificates of a PEM text or a list of them, which may be missing, by SHA-256 fingerprint."""
    certificates = pem_bundle(value) if value else []
    return {certs.fingerprint(one): one.public_bytes(Encoding.PEM).decode() for one in certificates}


def pem_bundle(value: object, name: str = "The input") -> list[x509.Certificate]:
    """Return the certificates of a PEM text or a list of them."""
    try:
        return parse(value, name)
    except certs.X509Error as exc:
        raise AnsibleFilterError(str(exc)) from exc
