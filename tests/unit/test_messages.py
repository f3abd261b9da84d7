# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of a failure names an object and a remedy, as far as a program can see it.

An object is a value that is put in, an option or variable by its name, a command, or what a filter was given. A remedy
is a clause that begins with a verb in the imperative ("Raise its max_lease_ttl first", ", or name it in helm_path"), a
command, or what would be accepted ("wanted RSA or EC", "must begin with itself"). A verb elsewhere is none: "the set
of names in use" is no advice. The exception is a message that ends with another one, which is passed on: that of an
exception or of a program.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOLE = "\0"  # where a value is put in
# Values that are messages themselves: of an exception, of a program, of a function that this test reads too.
PASSED_ON = re.compile(
    r"\b(exc|err|error|said|why|sentences?|message|msg|reasons?|problems|failures|ended|stderr|explain|api_message|hint"
    r"|_cause)\b"
)
# Raised inside a function for its caller, which shows no words of theirs, or makes them the rest of its sentence.
PARTS = ("AssertionError", "ForwardError", "KeyError", "TypeError")
VERBS = (
    "add|answer|ask|change|check|choose|configure|correct|create|delete|disable|enable|give|increase|initialize|install"
    "|leave|log in|look|make|mend|name|pass|point|raise|register|remove|rename|replace|restart|run|say|see|set|sign"
    "|start|stop|take|try|turn|unseal|upgrade|use|wait|write"
)
CLAUSES = re.compile(r"(?<=[.!?:;])\s+|, (?:or|and|then) |; (?:or|and) |\0 (?=[A-Z])")
IMPERATIVE = re.compile(rf"(?:({VERBS})\b(?! (?:is|are|of)\b)|`\w)", re.I)
ACCEPTED = re.compile(
    r"[,;] wanted (is )?\S|\bmust (not )?(be|begin|end)\b|\b(has|have) to (be|begin|end)\b|: it takes \S"
    r"|\bneeds an? \S|: Vault takes \S|\bA policy for it needs: "
)
OBJECT = re.compile(r"\b[a-z]+_\w+|`\w[^`]+`|-e \w|\bthe input\b", re.I)


def text_of(node: ast.expr, told: list[str]) -> str | None:
    """The words of a message, with holes for the values; None when it is computed elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value, told) or "" for value in node.values)
    if isinstance(node, ast.FormattedValue):
        told.append(ast.unparse(node.value))
        return HOLE
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left, told) or HOLE) + (text_of(node.right, told) or HOLE)
    return None


def choices(node: ast.expr) -> Iterator[ast.expr]:
    """Both messages of `one if condition else other`."""
    if isinstance(node, ast.IfExp):
        yield from choices(node.body)
        yield from choices(node.orelse)
    else:
        yield node


def module_messages() -> Iterator[tuple[str, str, list[str]]]:
    """(place, words, values) of each message that a plugin ends with, and of each that it makes an exception of."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            given: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name.endswith(".fail_json"):
                    given = [keyword.value for keyword in node.keywords if keyword.arg == "msg"]
                elif name.endswith("Error") and name not in PARTS:
                    given = node.args[:1]
            elif path.match("_vault/errors.py") and isinstance(node, ast.FunctionDef) and node.name in SENTENCES:
                given = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
            for one in (choice for each in given for choice in choices(each)):
                told: list[str] = []
                words = text_of(one, told)
                if words is not None:
                    yield f"{path.relative_to(ROOT)}:{one.lineno}", words, told


SENTENCES = ("reason", "missing_right", "not_vault")  # functions that return whole messages


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    for item in content if isinstance(content, list) else []:
        yield item
        for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from tasks(item.get(part))


def play_messages() -> Iterator[tuple[str, str, list[str]]]:
    """(place, words, values) of each fail and assert."""
    for path in sorted({*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")}):
        for task in tasks(yaml.safe_load(path.read_text())):
            for action, key in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
                if action in task:
                    message = (task[action] or {}).get(key, "")
                    told = re.findall(r"{{(.*?)}}", message, re.S)
                    yield (
                        f"{path.relative_to(ROOT)}: {task.get('name')}",
                        re.sub(r"{{.*?}}", HOLE, message, flags=re.S),
                        told,
                    )


def faults(words: str, values: list[str]) -> list[str]:
    if not words.strip(HOLE + " .:"):
        return []  # another's message, passed on
    found = []
    if len(re.findall(r"\w+", words)) + words.count(HOLE) < 3:
        found.append("is no sentence")
    if HOLE not in words and not OBJECT.search(words) and words.split()[0] not in OPTIONS:
        found.append("names no object")
    passed_on = (re.search(rf"{HOLE}\W*$", words) and PASSED_ON.search(values[-1])) or (
        words.startswith(f"{HOLE} ") and PASSED_ON.search(values[0])
    )
    remedy = any(IMPERATIVE.match(clause) for clause in CLAUSES.split(words) if clause) or ACCEPTED.search(words)
    if not remedy and not passed_on:
        found.append("names no remedy")
    return found


def options() -> set[str]:
    """Names of the modules' options."""
    pages = [ast.parse(path.read_text()) for path in (ROOT / "plugins").rglob("*.py")]
    texts = [
        node.value.value
        for page in pages
        for node in ast.walk(page)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if ast.unparse(node.targets[0]) == "DOCUMENTATION"
    ]
    return {name for text in texts for name in yaml.safe_load(text).get("options") or {}}


OPTIONS = options()
MESSAGES = [*module_messages(), *play_messages()]


def test_there_are_messages_to_read():
    places = {place.split(":")[0].split("/")[0] for place, dummy, dummy2 in MESSAGES}
    assert places == {"plugins", "roles", "playbooks"}
    assert len(MESSAGES) > 120
    assert "_vault/errors.py" in "".join(place for place, dummy, dummy2 in MESSAGES)


@pytest.mark.parametrize(("place", "words", "values"), MESSAGES, ids=[place for place, dummy, dummy2 in MESSAGES])
def test_a_message_names_an_object_and_a_remedy(place, words, values):
    assert faults(words, values) == [], words.replace(HOLE, "{}")


@pytest.mark.parametrize(
    ("words", "values", "fault"),
    [
        ("Failed", [], "is no sentence"),
        ("Something went wrong. Try again.", [], "names no object"),
        ("TLS failed: check the server.", [], "names no object"),
        (f"{HOLE} is broken.", ["name"], "names no remedy"),
        (f"The set of names in use by {HOLE} needs no change.", ["name"], "names no remedy"),
        (f"Issuer {HOLE} has a name that is in use.", ["name"], "names no remedy"),
        (f"The use of {HOLE} is not possible, see above where it says so.", ["name"], "names no remedy"),
        (f"{HOLE}: the run of {HOLE} was wanted.", ["path", "name"], "names no remedy"),
        (f"Failed with {HOLE} in {HOLE}.", ["exc", "namespace"], "names no remedy"),  # not what it ends with
        ("pki_report_dir was not set and use of the default is off.", [], "names no remedy"),
    ],
)
def test_a_poor_message_would_be_seen(words, values, fault):
    assert fault in faults(words, values)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (f"Port {HOLE} is taken by {HOLE}. Stop it, or publish another port.", ["port", "owner"]),
        (f"{HOLE} is not installed. Install it, or name it in helm_path.", ["name"]),
        (f"{HOLE} is of type {HOLE}, wanted kv.", ["path", "kind"]),
        (f"{HOLE} cannot be read: {HOLE}.", ["path", "exc"]),
        ("Run `make demo` first.", []),
    ],
)
def test_a_good_message_passes(words, values):
    assert faults(words, values) == []


def test_both_messages_of_a_condition_are_read():
    (node,) = ast.parse("'one' if condition else ('two' if other else 'three')").body
    assert [text_of(one, []) for one in choices(node.value)] == ["one", "two", "three"]
