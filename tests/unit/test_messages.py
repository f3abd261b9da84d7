# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of a failure names an object and a remedy, as far as a program can check it.

An object is an inserted value, the name of an option or variable, a command, or the input of a filter. A remedy is a
clause that begins with an imperative ("Raise its max_lease_ttl first", ", or name it in helm_path"), a command, or the
accepted values ("expected RSA or EC", "must begin with itself"). A verb elsewhere is not a remedy: "the set of names in
use". A message that ends with another one, of an exception or of a program, passes it on and needs no remedy.
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
HOLE = "\0"  # stands for an inserted value
# Names of values that are messages: of an exception, of a program, of a function that this test reads, too.
PASSED_ON = re.compile(
    r"\b(exc|err|error|why|sentences?|message|msg|reasons?|problems|failures|ended|stderr|explain|api_message|hint"
    r"|_cause)\b"
)
# Caught by the caller, which does not show the message or completes it.
PARTS = ("AssertionError", "ForwardError", "KeyError", "TypeError")
VERBS = (
    "add|ask|change|check|choose|configure|correct|create|delete|disable|enable|give|increase|initialize|install"
    "|leave|log in|lower|make|move|name|pass|point|raise|register|remove|rename|renew|replace|request|restart"
    "|revoke|run|see|set|sign|start|stop|take|try|turn|unseal|upgrade|use|wait|write"
)
CLAUSES = re.compile(r"(?<=[.!?:;])\s+|, (?:or|and|then) |; (?:or|and) |\0 (?=[A-Z])")
IMPERATIVE = re.compile(rf"(?:({VERBS})\b(?! (?:is|are|of)\b)|`\w)", re.I)
ACCEPTED = re.compile(r"[,;] (wanted|expected) (is )?\S|\bmust (not )?(be|begin|end)\b|: it takes \S|\bneeds an? \S")
OBJECT = re.compile(r"\b[a-z]+_\w+|`\w[^`]+`|-e \w|\bthe input\b", re.I)


def text_of(node: ast.expr, values: list[str]) -> str | None:
    """The text of a message with holes for the values, which are appended; None when it is computed elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value, values) or "" for value in node.values)
    if isinstance(node, ast.FormattedValue):
        values.append(ast.unparse(node.value))
        return HOLE
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left, values) or HOLE) + (text_of(node.right, values) or HOLE)
    return None


def alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """Both messages of `one if condition else other`."""
    if isinstance(node, ast.IfExp):
        yield from alternatives(node.body)
        yield from alternatives(node.orelse)
    else:
        yield node


def arguments_of(node: ast.AST) -> list[ast.expr]:
    """The message of a call that fails, or that creates an error."""
    if not isinstance(node, ast.Call):
        return []
    name = ast.unparse(node.func)
    if name.endswith(".fail_json"):
        return [keyword.value for keyword in node.keywords if keyword.arg == "msg"]
    return node.args[:1] if name.endswith("Error") and name not in PARTS else []


def assigned(function: ast.AST, name: str, line: int) -> list[ast.expr]:
    """What the last assignment of a variable before a line sets it to."""
    found = [
        (node.lineno, node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and node.lineno <= line
    ]
    return [max(found, key=lambda pair: pair[0])[1]] if found else []


def messages_in(function: ast.AST, whole: bool) -> Iterator[ast.expr]:
    """Each message of a function, also one that is in a variable; with `whole`, what it returns, too."""
    for node in ast.walk(function):
        given = arguments_of(node)
        if whole and isinstance(node, ast.Return) and node.value:
            given = [node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value]
        for one in given:
            yield from assigned(function, one.id, one.lineno) if isinstance(one, ast.Name) else [one]


def module_messages() -> Iterator[tuple[str, str, list[str]]]:
    """(place, text, values) of each message that a plugin fails with."""
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        tree, seen = ast.parse(path.read_text()), set()
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for function in [*functions, tree]:
            whole = path.match("_vault/errors.py") and getattr(function, "name", "") in RETURNING
            for one in (choice for each in messages_in(function, whole) for choice in alternatives(each)):
                values: list[str] = []
                text = text_of(one, values)
                if text is not None and one not in seen:
                    seen.add(one)
                    yield f"{path.relative_to(ROOT)}:{one.lineno}", text, values


# Functions that return messages, alone or with a code.
RETURNING = (
    "explain_response",
    "explain_used_path",
    "explain_unknown_type",
    "explain_missing_capability",
    "explain_unknown_server",
)


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    for item in content if isinstance(content, list) else []:
        yield item
        for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from tasks(item.get(part))


def play_messages() -> Iterator[tuple[str, str, list[str]]]:
    """(place, text, values) of each fail and assert, and of each internal variable that contains a problem."""
    for path in sorted({*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")}):
        for task in tasks(yaml.safe_load(path.read_text())):
            for action, key in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
                if action in task:
                    message = (task[action] or {}).get(key, "")
                    yield f"{path.relative_to(ROOT)}: {task.get('name')}", *without_values(message)
    for path in sorted(ROOT.glob("roles/*/vars/main.yml")):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            if name.endswith("_problem"):
                for message in filter(str.strip, re.split(r"{%.*?%}", value, flags=re.S)):
                    yield f"{path.relative_to(ROOT)}: {name}", *without_values(message.strip())


def without_values(message: str) -> tuple[str, list[str]]:
    return re.sub(r"{{.*?}}", HOLE, message, flags=re.S), re.findall(r"{{(.*?)}}", message, re.S)


def faults(text: str, values: list[str]) -> list[str]:
    if not text.strip(HOLE + " .:"):
        return []  # a message that is passed on
    found = []
    if len(re.findall(r"\w+", text)) + text.count(HOLE) < 3:
        found.append("is not a sentence")
    if HOLE not in text and not OBJECT.search(text) and text.split()[0] not in OPTIONS:
        found.append("names no object")
    passed_on = (re.search(rf"{HOLE}\W*$", text) and PASSED_ON.search(values[-1])) or (
        text.startswith(f"{HOLE} ") and PASSED_ON.search(values[0])
    )
    remedy = any(IMPERATIVE.match(clause) for clause in CLAUSES.split(text) if clause) or ACCEPTED.search(text)
    if not remedy and not passed_on:
        found.append("names no remedy")
    return found


def options() -> set[str]:
    """The names of the options of all modules."""
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


def test_messages_are_found():
    places = {place.split(":")[0].split("/")[0] for place, dummy, dummy2 in MESSAGES}
    assert places == {"plugins", "roles", "playbooks"}
    assert len(MESSAGES) > 120
    assert "_vault/errors.py" in "".join(place for place, dummy, dummy2 in MESSAGES)


@pytest.mark.parametrize(("place", "text", "values"), MESSAGES, ids=[place for place, dummy, dummy2 in MESSAGES])
def test_message_names_object_and_remedy(place, text, values):
    assert faults(text, values) == [], text.replace(HOLE, "{}")


@pytest.mark.parametrize(
    ("text", "values", "fault"),
    [
        ("Failed", [], "is not a sentence"),
        ("Something went wrong. Try again.", [], "names no object"),
        ("TLS failed: check the server.", [], "names no object"),
        (f"{HOLE} is broken.", ["name"], "names no remedy"),
        (f"The set of names in use by {HOLE} needs no change.", ["name"], "names no remedy"),
        (f"Issuer {HOLE} has a name that is in use.", ["name"], "names no remedy"),
        (f"The use of {HOLE} is not possible, see above where it says so.", ["name"], "names no remedy"),
        (f"{HOLE}: the run of {HOLE} was wanted.", ["path", "name"], "names no remedy"),
        (
            f"Failed with {HOLE} in {HOLE}.",
            ["exc", "namespace"],
            "names no remedy",
        ),  # the message of the exception is not at the end
        ("pki_report_dir was not set and use of the default is off.", [], "names no remedy"),
        (f"{HOLE} has to be below {HOLE}.", ["name", "limit"], "names no remedy"),
        (f"{HOLE} is broken. Mend it.", ["name"], "names no remedy"),
    ],
)
def test_poor_message_is_found(text, values, fault):
    assert fault in faults(text, values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"Port {HOLE} is taken by {HOLE}. Stop it, or publish another port.", ["port", "owner"]),
        (f"{HOLE} is not installed. Install it, or name it in helm_path.", ["name"]),
        (f"{HOLE} is of type {HOLE}, wanted kv.", ["path", "kind"]),
        (f"{HOLE} cannot be read: {HOLE}.", ["path", "exc"]),
        ("Run `make demo` first.", []),
    ],
)
def test_good_message_passes(text, values):
    assert faults(text, values) == []


def test_both_messages_of_a_condition_are_read():
    (node,) = ast.parse("'one' if condition else ('two' if other else 'three')").body
    assert [text_of(one, []) for one in alternatives(node.value)] == ["one", "two", "three"]


def test_message_in_a_variable_is_read():
    source = "def f():\n    message = 'first'\n    message = 'second'\n    raise VaultError(message, code='x')"
    (function,) = ast.parse(source).body
    assert [text_of(one, []) for one in messages_in(function, whole=False)] == ["second"]
