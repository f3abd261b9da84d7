# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that talk to Vault share, beside community.hashi_vault's own fragments connection and auth."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Give the connection once for all with C(group/servicemesh.pki.vault) in C(module_defaults).
    support: full
    membership:
      - servicemesh.pki.vault
requirements:
  - hvac (Python library) on the host that runs the module
notes:
  - Works with HashiCorp Vault and with OpenBao. Tested with OpenBao 2.7.
  - The options of the connection and of the login are those of the collection community.hashi_vault, whose code makes
    them work. Its guides describe every login method.
  - Durations may be written as Vault writes them (V(48h), V(90d), V(1h30m)) or as seconds. They are compared
    as seconds.
"""
