#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_port_info
short_description: Check which TCP ports of a host are in use
version_added: 0.1.0
description:
  - Checks TCP ports of the host that the task runs on, and returns which process or container uses them.
  - The process comes from C(/proc), so it is known on Linux only. The container comes from Docker.
  - C(community.general.listen_ports_facts) returns all listening ports of a host. It needs C(ss) or C(netstat), and
    does not return containers.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  ports:
    description: TCP ports, 1 to 65535.
    type: list
    elements: int
    required: true
  docker_path:
    description: Name or path of Docker's client, which returns the container that publishes a port. It is optional.
    type: str
    default: docker
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: Check the ports of the cluster
  servicemesh.pki.host_port_info:
    ports: [80, 443]
  register: ports

- name: Fail if a port is in use
  ansible.builtin.assert:
    that: ports.in_use | length == 0
    fail_msg: "{{ ports.msg }}"
"""

RETURN = r"""
in_use:
  description: The ports that are in use, each with its owner.
  returned: success
  type: list
  elements: dict
  sample: [{"port": 80, "owner": "container web, process docker-proxy (pid 4242)"}]
msg:
  description: A message about the ports that are in use. Empty if all ports are free.
  returned: always
  type: str
  sample: "Port 80 is already in use by process nginx (pid 4242)."
code:
  description: V(invalid_port) when a number is not a TCP port.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._common.errors import PkiError
from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import ports


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            ports=dict(type="list", elements="int", required=True),
            docker_path=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    try:
        in_use = ports.ports_in_use(module, module.params["ports"], module.params["docker_path"])
    except PkiError as exc:
        module.fail_json(**exc.result())
    module.exit_json(changed=False, in_use=in_use, msg=ports.describe(in_use))


if __name__ == "__main__":
    main()
