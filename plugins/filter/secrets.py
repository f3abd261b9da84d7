# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that hides secrets in messages of other programs. It is documented in the YAML file of its name."""

from __future__ import annotations

import re
from typing import Any

# PEM, also if its end is cut off, and base64 that is as long as a key.
SECRET = re.compile(r"-----BEGIN [\s\S]*?(-----END [A-Z0-9 ]+-----|$)|[A-Za-z0-9+/=]{60,}")


def hide_secrets(message: object) -> str:
    return SECRET.sub("(hidden)", str(message))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"hide_secrets": hide_secrets}
