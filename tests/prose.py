# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the sentences of YAML and Python sources to files that Vale can read: python prose.py FOLDER PART ...

A part is a key of PARTS. For each source FOLDER gets a Markdown file with the same number of lines, in which each
sentence is on the line that it has in the source. So the line of a finding is the line to correct. Names of tasks and
plays are in a second file, NAME.tasks.md, because they have their own rules.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "fragments": ["changelogs/fragments"],
    "plugins": ["plugins", "meta"],
    "roles": ["roles"],
    "playbooks": ["playbooks", "inventories", "molecule"],
}
PROSE = {"description", "short_description", "notes", "details", "title", "fail_msg", "msg", "prompt"}
FRAGMENT = re.compile(r"_(changes|features|fixes|summary|issues)$|^(bugfixes|trivial|release_summary)$")
TASKS = {"tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"}
MARKUP = re.compile(r"\b[A-Z]{1,3}\(((?:[^()]|\([^()]*\))*)\)")
Pair = tuple[yaml.ScalarNode, yaml.Node]
Sentence = tuple[int, str]


def pairs(node: yaml.Node, seen: set[int] | None = None) -> Iterator[Pair]:
    """Every key of every mapping with its value, each once, also where an anchor repeats it."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key, value
            yield from pairs(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from pairs(value, seen)


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from scalars(value)


def plain(text: str) -> str:
    """Replace Jinja, semantic markup and names of variables by code of Markdown, which Vale does not read."""
    text = re.sub(r"\{\{.*?\}\}", lambda found: "`x`" + "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = MARKUP.sub("`x`", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"[\w.]*_\w+", "`x`", part) for part in re.split(r"(`[^`]+`)", text)
    )


def sentences(node: yaml.ScalarNode, lines: list[str]) -> Iterator[Sentence]:
    """The lines of a scalar as they are in the source, without the indicators of YAML around them."""
    start, end = node.start_mark, node.end_mark
    cut = lines[start.line : end.line + 1]
    if end.line < len(lines):
        cut[-1] = cut[-1][: end.column]
    cut[0] = cut[0][start.column :].lstrip("\"'|>-")
    if node.style in ("'", '"'):
        cut[-1] = cut[-1].rstrip("\"'")
    text = "\n".join(line.strip() for line in cut).replace("''", "'")
    for number, line in enumerate(plain(text).split("\n"), start.line):
        if line.strip():
            yield number, line.strip()


def documented(text: str) -> Iterator[tuple[int, str]]:
    """The YAML in the constants of a Python file, such as DOCUMENTATION, with the line of its beginning."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        name = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        if name.isupper() and isinstance(node.value.value, str) and "\n" in node.value.value:
            yield node.value.lineno - 1, node.value.value


def task_names(node: yaml.Node, in_list: bool = True) -> Iterator[yaml.ScalarNode]:
    """The names of plays, blocks and tasks. A name below a module is an argument."""
    if isinstance(node, yaml.SequenceNode) and in_list:
        for item in node.value:
            if isinstance(item, yaml.MappingNode):
                for key, value in item.value:
                    if key.value == "name" and isinstance(value, yaml.ScalarNode):
                        yield value
                    yield from task_names(value, key.value in TASKS)


def extract(path: str, text: str) -> dict[str, dict[int, str]]:
    """Sentences by line, for each suffix of a file to write."""
    found: dict[str, dict[int, str]] = {".md": {}, ".tasks.md": {}}
    for offset, source in list(documented(text)) if path.endswith(".py") else [(0, text)]:
        lines = source.splitlines()
        for root in yaml.compose_all(source, yaml.SafeLoader):
            for key, value in pairs(root):
                if key.value in PROSE or (path.startswith("changelogs") and FRAGMENT.search(key.value)):
                    for scalar in scalars(value):
                        found[".md"].update((offset + line, text) for line, text in sentences(scalar, lines))
            if not path.endswith(".py") and "/meta/" not in path:
                for scalar in task_names(root):
                    found[".tasks.md"].update((offset + line, text) for line, text in sentences(scalar, lines))
    return found


def released() -> set[str]:
    """Fragments of released versions, whose text is part of the changelog and stays as it is."""
    releases = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"].values()
    return {f"changelogs/fragments/{name}" for release in releases for name in release.get("fragments", [])}


def main(folder: Path, parts: list[str]) -> None:
    places = [place for part in parts for place in PARTS[part]]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *places] if places else ["true"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    done = released()
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        if name in done or not name.endswith((".py", ".yml")) or not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text()
        for suffix, by_line in extract(name, text).items():
            if by_line:
                page = folder / f"{name}{suffix}"
                page.parent.mkdir(parents=True, exist_ok=True)
                lines = [by_line.get(number, "") for number in range(text.count("\n") + 1)]
                page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
