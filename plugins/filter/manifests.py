# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that writes Kubernetes objects for a Git repository. It is documented in the YAML file of its name."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.servicemesh.pki.plugins.plugin_utils import _manifests


def kubernetes_manifests(definitions: list[dict[str, Any]]) -> str:
    if not isinstance(definitions, list):
        raise AnsibleFilterError("kubernetes_manifests needs a list of definitions of Kubernetes objects.")
    try:
        return _manifests.manifests(definitions)
    except _manifests.ManifestError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"kubernetes_manifests": kubernetes_manifests}
