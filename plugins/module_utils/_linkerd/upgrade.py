# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of `linkerd upgrade`, for a Linkerd that its CLI installed. Private to this collection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._linkerd import cli
from ansible_collections.servicemesh.pki.plugins.module_utils._x509.cryptography import (
    Encoding,
    NameOID,
    NoEncryption,
    PrivateFormat,
    ec,
    hashes,
    x509,
)

EXTERNAL = {"identity.externalCA": "true", "identity.issuer.scheme": "kubernetes.io/tls"}
# With an external issuer, the CLI refuses values that contain an issuer (Linkerd: cli/cmd/options.go, validateValues).
REPLACED = ("identityTrustAnchorsPEM", "identity.issuer.tls.crtPEM", "identity.issuer.tls.keyPEM")
INVALID_ISSUER = "failed to validate issuer credentials"  # from the same function


def render(module: AnsibleModule) -> tuple[int, str, str]:
    """Run `linkerd upgrade`. Return its exit code, the manifests and its error output.

    The module has the options of `cli.run` and `values`. Values that select trust anchors and an issuer of others also
    remove those that the CLI was given, even if they have expired. Raises the errors of `cli.run`.
    """
    values = module.params["values"]
    external = all(str(values.get(name)).lower() == value.lower() for name, value in EXTERNAL.items())
    changes = {**values, **dict.fromkeys(REPLACED, "")} if external else values
    options = {"set": ",".join(f"{name}={value}" for name, value in changes.items())}
    rc, out, err = cli.run(module, "upgrade", options)
    if rc != 0 and external and INVALID_ISSUER in err:
        with _stand_in() as (flags, descriptors):
            return cli.run(module, "upgrade", {**options, **flags, "force": "true"}, descriptors)
    return rc, out, err


@contextmanager
def _stand_in() -> Iterator[tuple[dict[str, str], list[int]]]:
    """Options with a valid issuer for `linkerd upgrade`, and the file descriptors that it reads them from.

    The CLI validates the issuer that it was given before it applies the values that remove it. No manifest contains
    this one.
    """
    certificate, key = _self_signed()
    contents = {
        "identity-trust-anchors-file": certificate,
        "identity-issuer-certificate-file": certificate,
        "identity-issuer-key-file": key,
    }
    with ExitStack() as opened:
        descriptors = {name: _readable(opened, content) for name, content in contents.items()}
        yield {name: f"/dev/fd/{each}" for name, each in descriptors.items()}, list(descriptors.values())


def _readable(opened: ExitStack, content: bytes) -> int:
    """A file descriptor to read `content` from, once. It holds as much as a pipe does, at least 4096 bytes."""
    reading, writing = os.pipe()
    opened.callback(os.close, reading)
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    return reading


def _self_signed() -> tuple[bytes, bytes]:
    """A certificate of the kind that Linkerd requires of an issuer, valid for an hour, and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "replaced by cert-manager")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private_key
