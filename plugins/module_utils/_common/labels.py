# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The label of the Kubernetes objects that this collection has created. Private to this collection."""

from __future__ import annotations

from typing import Any

MANAGED_BY, OWN_NAME = "app.kubernetes.io/managed-by", "servicemesh.pki"
OWN_LABEL = {MANAGED_BY: OWN_NAME}
NOT_OWN = f"{MANAGED_BY}!={OWN_NAME}"  # a selector of the objects of others


def is_managed(meta: dict[str, Any]) -> bool:
    """Whether this collection manages the object with this metadata."""
    return (meta.get("labels") or {}).get(MANAGED_BY) == OWN_NAME
