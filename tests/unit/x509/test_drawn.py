# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains with faults drawn at random, the same ones in every run, each judged by openssl too."""

from __future__ import annotations

import random

import pytest
from authority import DAY, NOW, Made, key, make, openssl_verifies

from ansible_collections.servicemesh.pki.plugins.module_utils import _x509_chain

KINDS = ["p256", "p384", "rsa2048", "ed25519"]


def faults(draw: random.Random) -> dict:
    options = {}
    match draw.random():
        case chance if chance < 0.08:
            options["end"] = NOW - DAY / 2
        case chance if chance < 0.12:
            options["start"] = NOW + DAY
        case chance if chance < 0.18:
            options["ca"] = False
        case chance if chance < 0.22:  # without keyCertSign too: with it alone openssl takes it for an old CA
            options["ca"] = options["key_cert_sign"] = None
        case chance if chance < 0.26:
            options["key_cert_sign"] = False
        case chance if chance < 0.30:
            options["sign_with"] = key("p256", 99)
        case chance if chance < 0.34:
            options["aki"] = b"x" * 20
        case chance if chance < 0.60:
            options["path_length"] = draw.randint(0, 2)
    return options


def drawn(seed: int) -> tuple[list[Made], list[Made]]:
    draw, made = random.Random(seed), []  # noqa: S311
    for tier in range(draw.randint(2, 4)):
        own_key = key(draw.choice(KINDS), tier)
        made.insert(0, make(f"tier {tier}", made[0] if made else None, own_key=own_key, **faults(draw)))
    anchor = made[-1] if draw.random() < 0.8 else draw.choice(made)
    others = made[1:]
    draw.shuffle(others)
    return [made[0], *others], [anchor]


@pytest.mark.parametrize("seed", range(300))
def test_openssl_says_the_same(seed, tmp_path):
    chain, anchors = drawn(seed)
    verdict = _x509_chain.verify(
        [made.certificate for made in chain],
        [made.certificate for made in anchors],
        _x509_chain.requirements(at=NOW),
    )
    if chain[0] is anchors[0]:
        chain = chain[:1]  # openssl would judge what stands above an anchor too; we trust an anchor as it is
    assert verdict.verified is openssl_verifies(tmp_path, chain, anchors), verdict.reasons


def test_the_draw_has_good_and_bad_chains():
    wanted = _x509_chain.requirements(at=NOW)
    verdicts = [
        _x509_chain.verify(
            [made.certificate for made in chain], [made.certificate for made in anchors], wanted
        ).verified
        for chain, anchors in map(drawn, range(300))
    ]
    assert 60 < sum(verdicts) < 240
