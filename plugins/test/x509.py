# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests on certificates. Each is documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any

from ansible_collections.servicemesh.pki.plugins.filter.x509 import chain_verdict
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify import paths
from ansible_collections.servicemesh.pki.plugins.plugin_utils._verify.filter_input import (
    pem_bundle,
    require_cryptography,
)


def issued_by(child: object, parent: object) -> bool:
    require_cryptography()
    return paths.is_issued_by(pem_bundle(child)[0], pem_bundle(parent, "The issuer")[0])


def trusted_by(chain: object, anchors: object, **requirements: Any) -> bool:
    return chain_verdict(chain, anchors, **requirements).verified


class TestModule:
    def tests(self) -> dict[str, Any]:
        return {"issued_by": issued_by, "trusted_by": trusted_by}
