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
  - hvac >= 1.2.1 (Python library) on the host that runs the module
notes:
  - Check mode asks Vault what the login may do, so it fails as the real run would. That takes the policy V(default),
    which every token has unless it was made without. Whether Vault takes a value is only known when it is written.
  - Works with HashiCorp Vault and with OpenBao. Tested with HashiCorp Vault 1.21, OpenBao 2.6 and 2.7.
  - The options of the connection and of the login are those of the collection community.hashi_vault, whose code makes
    them work. Its guides describe every login method.
  - "Many failures return C(code), one word for what went wrong: C(answer_lost), C(unreachable), C(not_vault),
    C(unexpected_answer), C(invalid_header), C(invalid_duration), C(invalid_name), C(invalid_kubeconfig),
    C(kubernetes_refused), C(outcome_unknown), C(unreadable_certificate), C(issuer_in_use), C(key_name_taken),
    C(no_keys)."
  - Durations may be written as Vault writes them (V(48h), V(90d), V(1h30m)) or as seconds. They are compared
    as seconds.
"""

    AUTHORITY = r"""
notes:
  - "Of the API's parameters these are left out. C(exported), C(existing) and C(kms) keys, C(format),
    C(private_key_format): no key leaves Vault. C(key_usage) and C(ext_key_usage): a CA signs certificates and
    revocation lists. C(not_before): only OpenBao has it, O(not_before_duration) is everywhere. C(use_csr_values): the
    request is this module's own. C(enforce_leaf_not_after_behavior): what would outlive its parent is refused before.
    C(skid), C(user_ids), C(cert_metadata): Vault's own choice fits a mesh."
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
    description: SERIALNUMBER of the subject, not the serial of the certificate.
    type: str
  alt_names:
    description: DNS names and e-mail addresses in the certificate. Used once, not compared.
    type: list
    elements: str
  ip_sans:
    description: IP addresses in the certificate. Used once, not compared.
    type: list
    elements: str
  uri_sans:
    description: URIs in the certificate. Used once, not compared.
    type: list
    elements: str
  other_sans:
    description:
      - Other names in the certificate, each as its OID, type and value, such as
        V(1.3.6.1.4.1.311.20.2.3;UTF8:mesh). Used once, not compared.
    type: list
    elements: str
  exclude_cn_from_sans:
    description: Whether the CN is kept out of the alternative names, where Vault puts it. Used once, not compared.
    type: bool
  key_type:
    description: Kind of key. Linkerd wants V(ec) of 256 bits, RSA is possible for a root.
    type: str
    choices: [ec, rsa, ed25519]
    default: ec
  key_bits:
    description:
      - Size of the key. V(224), V(256), V(384), V(521) for V(ec); V(2048), V(3072), V(4096) for V(rsa), with HashiCorp
        Vault V(8192) too; V(0) for V(ed25519).
      - By default V(256) for V(ec) and V(2048) for V(rsa).
    type: int
  signature_bits:
    description: Bits of the hash in RSA signatures. Used once, not compared.
    type: int
    choices: [256, 384, 512]
  use_pss:
    description: Whether RSA signatures are of the kind PSS instead of PKCS#1 v1.5. Used once, not compared.
    type: bool
  ttl:
    description:
      - Life of the certificate, a duration. More than the mount allows is an error before anything is made.
      - O(ttl) or O(not_after) is required for O(state=present), because Vault's own default is only 32 days.
    type: str
  not_after:
    description: End of the certificate's life, an ISO 8601 time such as V(2027-03-31T12:00:00Z). No zone means UTC.
    type: str
  not_before_duration:
    description: How far the start is dated back, a duration. Vault's default is 30s.
    type: str
  max_path_length:
    description:
      - How many CAs may be below this one. V(-1) is no limit, which is Vault's default.
      - V(1) lets a root sign Linkerd's issuer, which then gets V(0) and can sign workloads only.
    type: int
  permitted_dns_domains:
    description: Name constraints. DNS domains that the CA and all below it may certify.
    type: list
    elements: str
  permitted_ip_ranges:
    description: IP ranges that they may certify, as CIDR. HashiCorp Vault only.
    type: list
    elements: str
  permitted_email_addresses:
    description: E-mail addresses or domains that they may certify. HashiCorp Vault only.
    type: list
    elements: str
  permitted_uri_domains:
    description: Domains of URIs that they may certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_dns_domains:
    description: DNS domains that they may not certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_ip_ranges:
    description: IP ranges that they may not certify, as CIDR. HashiCorp Vault only.
    type: list
    elements: str
  excluded_email_addresses:
    description: E-mail addresses or domains that they may not certify. HashiCorp Vault only.
    type: list
    elements: str
  excluded_uri_domains:
    description: Domains of URIs that they may not certify. HashiCorp Vault only.
    type: list
    elements: str
  minimum_remaining:
    description: An existing certificate with this much life left, or less, counts as different. A duration.
    type: str
    default: "0"
  on_drift:
    description:
      - What to do when an issuer of that name exists and differs. Vault cannot change a certificate, and this module
        never replaces one.
      - V(fail) and V(warn) name every difference with what was wanted and found. V(ignore) only returns them.
    type: str
    choices: [fail, warn, ignore]
    default: fail
"""
