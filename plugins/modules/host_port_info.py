#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_port_info
short_description: Tells whether TCP ports of this host are taken, and by whom
version_added: 0.1.0
description:
  - Looks at the TCP ports of the host that the task runs on, before something is to be published there.
  - The owner is a process (from C(/proc), Linux only) and, where a container publishes the port, that container.
extends_documentation_fragment:
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  ports:
    description: TCP ports to look at, 1 to 65535.
    type: list
    elements: int
    required: true
  docker_path:
    description: Docker's client, which knows the container behind a port. Without one only the process is named.
    type: str
    default: docker
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: See who has the ports
  servicemesh.pki.host_port_info:
    ports: [80, 443]
  register: ports

- name: Stop before anything is made
  ansible.builtin.assert:
    that: ports.taken | length == 0
    fail_msg: "{{ ports.msg }}"
"""

RETURN = r"""
taken:
  description: The ports that are taken, with who has them.
  returned: always
  type: list
  elements: dict
  sample: [{"port": 80, "owner": "container web, process docker-proxy (pid 4242)"}]
msg:
  description: One sentence for a person, empty when all ports are free.
  returned: always
  type: str
  sample: "Port 80 is taken by process nginx (pid 4242)."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.servicemesh.pki.plugins.module_utils._k3d import ports


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            ports=dict(type="list", elements="int", required=True),
            docker_path=dict(type="str", default="docker"),
        ),
        supports_check_mode=True,
    )
    taken = ports.taken(module, module.params["ports"], module.params["docker_path"])
    module.exit_json(changed=False, taken=taken, msg=ports.sentences(taken))


if __name__ == "__main__":
    main()
