# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that this collection imports from the code of other collections; no other file does. Private to this collection.

Those collections call it internal and may rename it in any release. It is used because our modules take the same
options, environment variables and auth methods as theirs, and reimplementing those would let them drift apart.
tests/unit/test_upstream.py fails when a name is no longer there.

May import: nothing.
"""
