# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Error messages of Helm and the API server, which can quote Secrets."""

from __future__ import annotations

import base64

import pytest
from support.authority import make

from ansible_collections.servicemesh.pki.plugins.filter.secrets import hide_secrets

PEM = make("root").pem
BODY = "".join(PEM.splitlines()[1:-1])


@pytest.mark.parametrize("secret", [PEM, PEM[:200], PEM.replace("\n", "\\n"), base64.b64encode(PEM.encode()).decode()])
def test_no_part_of_a_secret_is_left(secret):
    shown = hide_secrets(f"Error: values are invalid: {secret}")
    assert shown.startswith("Error: values are invalid: (hidden)")
    assert not [start for start in range(len(BODY) - 20) if BODY[start : start + 20] in shown]


def test_other_text_is_unchanged():
    message = 'Error: UPGRADE FAILED: deployments.apps "linkerd-identity" is forbidden: User "u" cannot patch'
    assert hide_secrets(message) == message
