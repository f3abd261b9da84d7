# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Object identifiers, and tags of general names in DER (RFC 5280). Private to this collection."""

from __future__ import annotations

# Extensions
SUBJECT_KEY_IDENTIFIER, KEY_USAGE, SUBJECT_ALTERNATIVE_NAME = "2.5.29.14", "2.5.29.15", "2.5.29.17"
BASIC_CONSTRAINTS, NAME_CONSTRAINTS, CRL_DISTRIBUTION_POINTS = "2.5.29.19", "2.5.29.30", "2.5.29.31"
CERTIFICATE_POLICIES, POLICY_MAPPINGS, AUTHORITY_KEY_IDENTIFIER = "2.5.29.32", "2.5.29.33", "2.5.29.35"
POLICY_CONSTRAINTS, EXTENDED_KEY_USAGE, INHIBIT_ANY_POLICY = "2.5.29.36", "2.5.29.37", "2.5.29.54"
AUTHORITY_INFORMATION_ACCESS = "1.3.6.1.5.5.7.1.1"

# Extended key usages
SERVER_AUTH, CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"

# Public keys
RSA, EC, ED25519, X25519 = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1", "1.3.101.112", "1.3.101.110"

# Tags of general names
EMAIL, DNS, DIRECTORY, URI, IP = 0x81, 0x82, 0xA4, 0x86, 0x87
