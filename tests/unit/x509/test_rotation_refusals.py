# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of a plan that depend on time, on roots to retire, on the target, and on warnings of linkerd check."""

from __future__ import annotations

import pytest
from authority import DAY, NOW
from readings import ISSUER, ROOT
from test_rotation_plan import BOTH, planned, reading


@pytest.mark.parametrize(("at", "expired"), [(NOW, False), (ROOT.certificate.not_valid_after_utc + DAY, True)])
def test_the_plan_shows_that_the_signer_has_expired(at, expired):
    """The running identity controller then rejects an issuer below the new root, until it restarts."""
    found = planned(reading(BOTH, ISSUER, ROOT.pem, ISSUER), at=at, force=True)
    assert found["clusters"]["one"]["signer_expired"] is expired
