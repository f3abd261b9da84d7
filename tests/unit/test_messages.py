# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of a failure says what is wrong, with which object, and what to do.

The rule, as far as a program can hold it: a message has a whole sentence; it names an object (a value put into it, an
option, a file, a command); and it holds an instruction (a verb that tells the reader something, or what is wanted or
possible) or the words of the program that failed, which are put into it.
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
TOLD = re.compile(
    r"\b(exc|err|error|said|why|ground|sentences?|message|msg|reasons?|ended|stderr|explain|strerror|api_message|too_long"
    r"|missing_right|not_enough|results?)\b"
)
# Raised inside a function for its caller, which shows no words of theirs, or makes them the rest of its sentence.
PARTS = ("AssertionError", "ForwardError", "KeyError", "TypeError")
INSTRUCTION = re.compile(
    r"\b(add|answer|ask|change|enable|check|choose|compare|correct|delete|describe|export|give|install"
    r"|leave|log in|look|make|name|needs?|point|put|raise|read|remove|restart|run|say|see|set|sign|start"
    r"|stop|take|try|turn|unseal|use|wait|write|wanted|knows|must|has to|have to|takes|is to be|are for"
    r"|is for|converts|only:|begin with|instead)\b|`[^`]+`",
    re.I,
)


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
    if isinstance(node, ast.IfExp):
        return text_of(node.body, told)
    return None


def module_messages() -> Iterator[tuple[str, str, str]]:
    """(place, words, values) of each message that a plugin ends with."""
    for path in sorted((ROOT / "plugins").glob("*/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            given: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fail_json":
                given = [keyword.value for keyword in node.keywords if keyword.arg == "msg"]
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func)
                given = node.exc.args[:1] if name.endswith("Error") and name not in PARTS else []
            for one in given:
                told: list[str] = []
                words = text_of(one, told)
                if words is not None:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", words, " ".join(told)


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    for item in content if isinstance(content, list) else []:
        yield item
        for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from tasks(item.get(part))


def play_messages() -> Iterator[tuple[str, str, str]]:
    """(place, words, values) of each fail and assert."""
    for path in sorted({*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")}):
        for task in tasks(yaml.safe_load(path.read_text())):
            for action, key in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
                if action in task:
                    message = (task[action] or {}).get(key, "")
                    told = " ".join(re.findall(r"{{(.*?)}}", message, re.S))
                    yield (
                        f"{path.relative_to(ROOT)}: {task.get('name')}",
                        re.sub(r"{{.*?}}", HOLE, message, flags=re.S),
                        told,
                    )


def faults(words: str, told: str) -> list[str]:
    found = []
    if not words.strip(HOLE + " .:"):
        return []  # another's message, passed on
    if len(re.findall(r"\w+", words)) + words.count(HOLE) < 3:
        found.append("is no sentence")
    if HOLE not in words and not re.search(
        r"\w+_\w+|`[^`]+`|-e |[A-Z]\w+[A-Z]\w*|/\w+|\b(namespace|mount|at)\b", words
    ):
        found.append("names no object")
    if not INSTRUCTION.search(words) and not TOLD.search(told):
        found.append("tells nothing to do")
    return found


MESSAGES = [*module_messages(), *play_messages()]


def test_there_are_messages_to_read():
    places = {place.split(":")[0].split("/")[0] for place, dummy, dummy2 in MESSAGES}
    assert places == {"plugins", "roles", "playbooks"}
    assert len(MESSAGES) > 100


@pytest.mark.parametrize(("place", "words", "told"), MESSAGES, ids=[place for place, dummy, dummy2 in MESSAGES])
def test_a_message_says_what_to_look_at(place, words, told):
    assert faults(words, told) == [], words.replace(HOLE, "{}")


@pytest.mark.parametrize("words", ["Failed", "Something went wrong.", f"{HOLE} is broken."])
def test_a_poor_message_would_be_seen(words):
    assert faults(words, "name")
