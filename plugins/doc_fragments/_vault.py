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
    description: Use C(group/servicemesh.pki.vault) in C(module_defaults) to set the connection once for all modules.
    support: full
    membership:
      - servicemesh.pki.vault
requirements:
  - hvac >= 1.2.1 (Python library) on the host that runs the module
notes:
  - Works with HashiCorp Vault and OpenBao. Tested with HashiCorp Vault 1.21, OpenBao 2.6 and 2.7.
  - The options of the connection and the login are those of the collection community.hashi_vault, whose code implements
    them. Its guides describe every auth method.
  - In check mode, the module asks Vault for the capabilities of the token, so that it fails as the real run would. The
    token needs the policy V(default) for that. Only a real write shows whether Vault accepts a value.
  - Write durations as Vault does (V(48h), V(90d), V(1h30m)) or in seconds. They are compared as seconds.
  - "Every failure returns RV(code). Codes of the connection are V(invalid_connection), V(invalid_address),
    V(invalid_header), V(ca_file_not_found), V(unreachable), V(answer_lost) (Vault may have acted, and no conclusive
    response arrived), V(not_vault) and V(unexpected_answer)."
  - "RV(code) of a failed login is V(invalid_login), V(login_refused), V(login_required) or V(invalid_token)."
  - "RV(code) of a refused request is V(permission_denied), V(mount_not_found), V(path_in_use), V(unsupported_path),
    V(unknown_engine_type), V(namespace_not_found), V(namespaces_not_supported) or V(request_refused)."
  - "RV(code) of a Vault that cannot respond is V(vault_sealed), V(vault_not_initialized), V(vault_standby),
    V(vault_failed) or V(rate_limited), when a request exceeds a quota."
"""

    AUTHORITY = r"""
notes:
  - "Some parameters of Vault's API are not supported: C(exported), C(existing) and C(kms) keys, C(format) and
    C(private_key_format), because no key leaves Vault; C(key_usage) and C(ext_key_usage), because a CA signs
    certificates and revocation lists; C(not_before), because only OpenBao has it (use O(not_before_duration));
    C(use_csr_values), because this module creates the request; C(enforce_leaf_not_after_behavior), because this module
    refuses a certificate that would outlive its parent; C(skid), C(user_ids) and C(cert_metadata), because Vault's
    defaults fit a mesh."
options:
  common_name:
    description: CN of the subject. Required for O(state=present).
    type: str
  organization:
    description: O of the subject.
    type: list
    elements: str
  ou:
    description: OU of the subject.
    type: list
    elements: str
  country:
    description: C of the subject.
    type: list
    elements: str
  province:
    description: ST of the subject.
    type: list
    elements: str
  locality:
    description: L of the subject.
    type: list
    elements: str
  street_address:
    description: Street address in the subject.
    type: list
    elements: str
  postal_code:
    description: Postal code in the subject.
    type: list
    elements: str
  serial_number:
    description: SERIALNUMBER of the subject. It is not the serial number of the certificate.
    type: str
  alt_names:
    description: DNS names and e-mail addresses of the certificate. They are not compared with an existing one.
    type: list
    elements: str
  ip_sans:
    description: IP addresses of the certificate. They are not compared with an existing one.
    type: list
    elements: str
  uri_sans:
    description: URIs of the certificate. They are not compared with an existing one.
    type: list
    elements: str
  other_sans:
    description:
      - Other names of the certificate, each with OID, type and value, such as V(1.3.6.1.4.1.311.20.2.3;UTF8:mesh). They
        are not compared with an existing one.
    type: list
    elements: str
  exclude_cn_from_sans:
    description: Whether to omit the CN from the alternative names. It is not compared with an existing certificate.
    type: bool
  key_type:
    description: >-
      Type of the key. Linkerd requires V(ec) with 256 bits for its issuer. For a root, C(linkerd check) also accepts
      V(rsa) with 2048 or 4096 bits.
    type: str
    choices: [ec, rsa, ed25519]
    default: ec
  key_bits:
    description:
      - Size of the key. V(224), V(256), V(384) or V(521) for V(ec). V(2048), V(3072), V(4096), and V(8192) with
        HashiCorp Vault, for V(rsa). V(0) for V(ed25519).
      - The default is V(256) for V(ec) and V(2048) for V(rsa).
    type: int
  signature_bits:
    description: Size of the hash in RSA signatures. It is not compared with an existing certificate.
    type: int
    choices: [256, 384, 512]
  use_pss:
    description: >-
      Whether to use PSS for RSA signatures instead of PKCS#1 v1.5. It is not compared with an existing certificate.
    type: bool
  ttl:
    description:
      - Validity of the certificate, a duration. The module fails before the first change if it exceeds the limit of the
        mount.
      - O(ttl) or O(not_after) is required for O(state=present), because Vault's default is only 32 days.
    type: str
  not_after:
    description: Expiry of the certificate, an ISO 8601 time such as V(2027-03-31T12:00:00Z). Without a zone it is UTC.
    type: str
  not_before_duration:
    description: How much earlier than now the validity begins, a duration. Vault's default is 30s.
    type: str
  max_path_length:
    description:
      - Maximum number of CAs below this one in a chain. V(-1) is no limit, which is Vault's default.
      - With V(1), a root can sign Linkerd's issuer, which then has V(0) and can sign only workload certificates.
    type: int
  permitted_dns_domains:
    description: DNS domains that the CA and all CAs below it may certify (name constraints).
    type: list
    elements: str
  permitted_ip_ranges:
    description: IP ranges that the CA and all CAs below it may certify, as CIDR. HashiCorp Vault only.
    type: list
    elements: str
  permitted_email_addresses:
    description: E-mail addresses or domains that the CA and all CAs below it may certify. HashiCorp Vault only.
    type: list
    elements: str
  permitted_uri_domains:
    description: Domains of URIs that the CA and all CAs below it may certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_dns_domains:
    description: DNS domains that the CA and all CAs below it may not certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_ip_ranges:
    description: IP ranges that the CA and all CAs below it may not certify, as CIDR. HashiCorp Vault only.
    type: list
    elements: str
  excluded_email_addresses:
    description: >-
      E-mail addresses or domains that the CA and all CAs below it may not certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_uri_domains:
    description: Domains of URIs that the CA and all CAs below it may not certify. HashiCorp Vault only.
    type: list
    elements: str
  minimum_remaining:
    description: Minimum remaining validity, a duration. An existing certificate that is valid for less differs.
    type: str
    default: "0"
  on_drift:
    description:
      - What to do if an existing issuer with that name differs from the options. Vault cannot change a certificate,
        and this module never replaces one.
      - V(fail) and V(warn) report every difference. V(ignore) only returns them.
    type: str
    choices: [fail, warn, ignore]
    default: fail
"""
