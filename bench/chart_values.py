# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that site.yml passes to the charts, read from the variables of its roles."""

from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from bench.usage import ROOT

# Release of the workshop's script -> role and variable of its values.
RELEASES = {
    "cert-manager": ("cert_manager", "__cert_manager_chart_values"),
    "trust-manager": ("trust_manager", "__trust_manager_chart_values"),
    "linkerd-control-plane": ("linkerd", "__linkerd_chart_values"),
}
INVENTORY = "inventories/k3d/group_vars/all/workshop.yml"


def chart_values(linkerd_values: dict) -> dict[str, dict]:
    """The values of each release. The annotation that marks releases of the collection is left out.

    Args:
        linkerd_values: The variable linkerd_values of the inventory, with the images of the lab.
    """
    loader = DataLoader()

    def load(path: str) -> dict:
        return loader.load_from_file(str(ROOT / path), trusted_as_template=True)

    inventory = load(INVENTORY) | {"linkerd_values": linkerd_values}
    values = {}
    for release, (role, variable) in RELEASES.items():
        variables = load(f"roles/{role}/defaults/main.yml") | inventory | load(f"roles/{role}/vars/main.yml")
        values[release] = Templar(loader=loader, variables=variables).template(variables[variable])
    return values
