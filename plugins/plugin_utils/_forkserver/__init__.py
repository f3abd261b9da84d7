# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python process that the connection plugin forkserver starts, and its client (Linux only). Private to this
collection.

May import: nothing.
"""
