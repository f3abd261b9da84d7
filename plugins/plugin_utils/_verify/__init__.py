# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of certificate chains, and the input of the filters that use it. Private to this collection.

The profile linkerd verifies as Go does in the identity controller (go*.py), and as rustls-webpki does in the proxies
(webpki*.py). Without a profile the rules are those of RFC 5280 (paths.py, rules.py, name_constraints.py).

May import: _common, _x509.
"""
