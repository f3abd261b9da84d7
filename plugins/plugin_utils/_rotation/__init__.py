# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation of a mesh's trust anchor: the current phase and the next step. Private to this collection.

May import: _linkerd, _preflight, _report, _verify, _x509.
"""
