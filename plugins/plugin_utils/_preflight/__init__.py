# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of an existing cluster before a run changes it, and what the run may change. Private to this collection.

May import: _common, _prerequisites, _verify, _x509.
"""
