# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of Kubernetes. Private to this collection."""

from __future__ import annotations

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError


class ClusterError(PkiError):
    """A failed request to a cluster, or an object that is not in the required state."""

    code = "kubernetes_error"


class BusyError(ClusterError):
    """The API server is busy, is starting, or has lost its etcd: the same request may succeed later."""

    code = "server_busy"
