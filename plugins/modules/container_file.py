#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_file
short_description: A public file of a container, kept on this host
version_added: 0.2.0
description:
  - Copies one file out of a container through Docker's API, such as the CA certificate that a server in it has made.
  - The container needs no shell and no program for it.
  - Nothing is written when the file on this host is the same.
  - A file that holds a private key is refused. It stays where it is.
extends_documentation_fragment:
  - community.docker.docker.api_documentation
  - servicemesh.pki._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  container:
    description: Name or identifier of the container. It need not run.
    type: str
    required: true
  path:
    description: Path of the file in the container. Not one of a volume in memory (tmpfs), which Docker cannot read.
    type: path
    required: true
  dest:
    description: Path of the file on this host. Its folder is made when missing.
    type: path
    required: true
  mode:
    description:
      - Mode of the file on this host, as in M(ansible.builtin.file).
      - A text is octal, such as V('0644'), or symbolic, such as V(u=rw,g=r,o=r). A number is the mode itself, so YAML's
        unquoted V(0644) is that mode, and V(644) is another one.
    type: raw
    default: "0644"
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The CA that Vault made for itself
  servicemesh.pki.container_file:
    container: vault
    path: /tmp/vault-ca.pem
    dest: ~/.config/servicemesh-pki/vault-ca.pem
"""

RETURN = r"""
content:
  description: Text of the file.
  returned: success
  type: str
dest:
  description: Path of the file on this host, whole.
  returned: success
  type: str
"""

import os
import tempfile
from typing import Any

from ansible_collections.community.docker.plugins.module_utils._api.errors import APIError, DockerException
from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient, RequestException
from ansible_collections.community.docker.plugins.module_utils.copy import DockerFileCopyError, fetch_file_ex


class FileError(Exception):
    """A sentence for the user."""


def fetch(client: AnsibleDockerClient, container: str, path: str) -> str:
    where = f"{path} of container {container}"

    def refuse(why: str) -> Any:
        raise FileError(f"{where} {why}.")

    raw = fetch_file_ex(
        client,
        container,
        path,
        lambda path: refuse("does not exist"),
        lambda path, tar, member: tar.extractfile(member).read(),
        lambda path, member: refuse("is a link"),
        lambda path, member: refuse("is no file"),
        follow_links=True,
    )
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return refuse("is no text")
    if "PRIVATE KEY" in text:
        refuse("holds a private key, which stays in the container")
    return text


def keep(client: AnsibleDockerClient, text: str, dest: str) -> tuple[bool, str]:
    """Whether the file on this host was otherwise, and what was in it."""
    module = client.module
    before = ""
    if os.path.exists(dest):
        with open(dest, encoding="utf-8", errors="replace") as file:
            before = file.read()
    changed = before != text
    if changed and not module.check_mode:
        os.makedirs(os.path.dirname(dest), exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False) as file:
            file.write(text)
        module.atomic_move(file.name, dest)
    if os.path.exists(dest) or changed:
        changed = module.set_mode_if_different(dest, module.params["mode"], changed)
    return changed, before


def main() -> None:
    client = AnsibleDockerClient(
        argument_spec=dict(
            container=dict(type="str", required=True),
            path=dict(type="path", required=True),
            dest=dict(type="path", required=True),
            mode=dict(type="raw", default="0644"),
        ),
        supports_check_mode=True,
    )
    params = client.module.params
    dest = os.path.abspath(params["dest"])
    try:
        text = fetch(client, params["container"], params["path"])
        changed, before = keep(client, text, dest)
    except FileError as exc:
        client.module.fail_json(msg=str(exc))
    except (APIError, DockerFileCopyError, DockerException, RequestException) as exc:
        client.module.fail_json(msg=f"{params['path']} of container {params['container']} cannot be read: {exc}.")
    except OSError as exc:
        client.module.fail_json(msg=f"{dest} cannot be written: {exc.strerror}. Give another dest.")
    diff = {"before": before, "after": text, "before_header": dest, "after_header": dest}
    client.module.exit_json(changed=changed, content=text, dest=dest, diff=diff)


if __name__ == "__main__":
    main()
