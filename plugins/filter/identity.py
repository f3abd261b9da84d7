# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on the identity issuer. Each is documented in the YAML file of its name."""

from __future__ import annotations

from datetime import datetime

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.filter.x509 import pem_bundle
from ansible_collections.servicemesh.pki.plugins.module_utils._common.durations import DurationError
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import issuer_lifetime
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.chains import moment


def identity_lifetime(anchors: object, duration: str, renew_before: str, at: str | datetime | None = None) -> dict:
    found = pem_bundle(anchors, "The anchors") if anchors else []
    try:
        return issuer_lifetime.lifetime(found, duration, renew_before, moment(at))
    except (DurationError, ArithmeticError, TypeError, ValueError) as exc:
        raise AnsibleFilterError(f"Life of the identity issuer: {exc}") from exc


class FilterModule:
    def filters(self) -> dict:
        return {"identity_lifetime": identity_lifetime}
