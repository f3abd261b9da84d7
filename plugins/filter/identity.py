# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on the identity issuer. Each is documented in the YAML file of its name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import issuer_lifetime
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.chains import parse_time
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    pem_bundle,
    require_cryptography,
)


def identity_lifetime(
    anchors: object, duration: str, renew_before: str, at: str | datetime | None = None
) -> dict[str, Any]:
    require_cryptography()
    parsed = pem_bundle(anchors, "The anchors") if anchors else []
    try:
        return issuer_lifetime.lifetime(parsed, duration, renew_before, parse_time(at))
    except (PkiError, ArithmeticError, TypeError, ValueError) as exc:
        raise AnsibleFilterError(f"Validity of the identity issuer: {exc}") from exc


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"identity_lifetime": identity_lifetime}
