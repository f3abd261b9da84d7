# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from the code of other collections, which no other package has. Private to this collection.

Those collections may rename it in any release. It is used so that our modules have the same options, environment
variables and auth methods as theirs. tests/unit/test_upstream.py fails when a name is missing.

May import: nothing.
"""
