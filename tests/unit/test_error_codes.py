# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every expected failure has a code, and each module documents the codes that it can return.

A code is documented as V(code) in the description of the return value `code`, or in the notes of a documentation
fragment that the module extends.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py")
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
GENERIC = {"failed", "kubernetes_error"}  # codes of base classes, which name no kind of failure
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def error_classes() -> dict[str, str]:
    """The code of each class of expected failures, empty when each raise must set one."""
    classes = [node for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    found = {"PkiError": ""}
    for dummy in classes:  # as often as the hierarchy can be deep
        for node in classes:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in found]
            if bases and node.name not in found:
                own = [one.value.value for one in node.body if is_code(one)]
                code = own[0] if own else found[bases[0]]
                found[node.name] = "" if code in GENERIC else code
    return found


def is_code(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"


def errors_in(node: ast.AST) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """Each call that creates an expected failure, with the value of `code`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rsplit(".", maxsplit=1)[-1] in error_classes():
            yield call, next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)


def constants(node: ast.AST) -> set[str]:
    """The strings that an expression may have as its value."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) | constants(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def codes_in(function: ast.AST) -> set[str]:
    """The codes of the failures that a function creates, or returns beside a message."""
    found: set[str] = set()
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        if ast.unparse(call.func).endswith(".fail_json"):
            found |= set().union(*(constants(one.value) for one in call.keywords if one.arg == "code"))
    for result in (node for node in ast.walk(function) if isinstance(node, ast.Dict)):
        values = {ast.unparse(key): value for key, value in zip(result.keys, result.values, strict=True) if key}
        if "'failed'" in values and "'code'" in values:
            found |= constants(values["'code'"])
    for call, value in errors_in(function):
        if value is None:
            found.add(error_classes()[ast.unparse(call.func).rsplit(".", maxsplit=1)[-1]])
        elif isinstance(value, ast.Name):
            assigned = [one.value for one in ast.walk(function) if isinstance(one, ast.Assign)]
            found |= {code for one in assigned for code in constants(one) if CODE.fullmatch(code)}
        else:
            found |= constants(value)
    if isinstance(function, ast.FunctionDef) and function.name.startswith("explain_"):
        returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
        found |= {code for one in returned if isinstance(one, ast.Tuple) for code in constants(one.elts[-1])}
    return found - {""}


@cache
def imports(path: Path) -> frozenset[Path]:
    """The files of this collection that a file imports, also by way of others."""
    found: set[Path] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and "servicemesh.pki.plugins." in (node.module or ""):
            folder = PLUGINS.joinpath(*(node.module or "").split("plugins.", 1)[1].split("."))
            candidates = [folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)]
            found |= {one for one in candidates if one.is_file()}
    return frozenset(found.union(*(imports(one) for one in found)))


def names_in(node: ast.AST) -> set[str]:
    """The names of what a function calls or uses, but for a `try` that catches every failure of one kind."""
    names = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    caught = node.body if isinstance(node, ast.Try) and any(is_final(one) for one in node.handlers) else []
    return names.union(*(names_in(child) for child in ast.iter_child_nodes(node) if child not in caught))


def is_final(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches errors of an input and does not raise another one."""
    kinds = re.findall(r"\w+", ast.unparse(handler.type) if handler.type else "")
    raises = any(isinstance(one, ast.Raise) for one in ast.walk(handler))
    return not raises and bool({"UNEXPECTED", "DurationError", "X509Error"} & set(kinds))


def raised(module: str) -> set[str]:
    """The codes of all functions that a module or its action may call, found by their names in what they import."""
    paths = [path for folder in ("modules", "action") if (path := PLUGINS / folder / f"{module}.py").exists()]
    functions: dict[str, list[ast.FunctionDef]] = {}
    for file in {*paths, *chain.from_iterable(map(imports, paths))}:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                inits = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
                functions.setdefault(node.name, []).extend(inits)
            elif isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append(node)
    found, seen, names = set(), set(), {"main"} if len(paths) == 1 else {"main", "run"}
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        for function in functions.get(name, []):
            found |= codes_in(function)
            names |= names_in(function)
    return found


# Modules parse certificates only inside of a `try`, or after Issuer.problem has done so.
PREVENTED = {"invalid_certificate", "invalid_pem", "private_key_in_input"}
# A module that always has a namespace, and failures that a module returns as the problem of one of several objects.
PREVENTED_IN = {
    "linkerd_certificates_info": {"missing_namespace", "forbidden", "unreadable", "server_busy"},
    "linkerd_injected_anchors_info": {"missing_namespace", "server_busy"},
    "linkerd_issuer_renewal": {"missing_namespace"},
    "linkerd_workload_renewal": {"invalid_option"},  # it has no options of the verification
    "linkerd_workloads_info": {"missing_namespace"},
    "mesh_prerequisites_info": {"missing_namespace"},
    "service_account_issuer_info": {"missing_namespace", "unusable_key"},
    "vault_pki_issuer_info": {"unreadable_certificate"},
}


def documented(module: str) -> set[str]:
    variables = {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree(PLUGINS / f"modules/{module}.py").body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    page, values = yaml.safe_load(variables["DOCUMENTATION"]), yaml.safe_load(variables["RETURN"])
    texts = [str(values.get("code", {}).get("description", ""))]
    for name in page.get("extends_documentation_fragment", []):
        file = PLUGINS / f"doc_fragments/{name.split('.')[2]}.py" if name.startswith("servicemesh.pki.") else None
        if file and name.count(".") == 2:
            fragments = [one for one in ast.walk(tree(file)) if isinstance(one, ast.Assign)]
            main = next(one for one in fragments if ast.unparse(one.targets[0]) == "DOCUMENTATION")
            texts += [note for note in yaml.safe_load(main.value.value).get("notes", []) if "RV(code)" in note]
    return {code for text in texts for code in re.findall(r"V\((\w+)\)", text)} - {"code"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_every_failure_has_a_code(path):
    missing = [
        f"line {call.lineno}: {ast.unparse(call.func)}"
        for call, value in errors_in(tree(path))
        if value is None and not error_classes()[ast.unparse(call.func).rsplit(".", maxsplit=1)[-1]]
    ]
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_modules_fail_only_with_a_code(path):
    """fail_json() is called with the result of an error, or with a code."""
    calls = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".fail_json")
    ]
    missing = [f"line {call.lineno}" for call in calls if not {None, "code"} & {one.arg for one in call.keywords}]
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_module_documents_its_codes(module):
    found, expected = documented(module), raised(module) - PREVENTED - PREVENTED_IN.get(module, set())
    assert sorted(found ^ expected) == [], f"not documented: {expected - found}; never returned: {found - expected}"


def test_codes_are_snake_case():
    codes = {code for module in MODULES for code in raised(module)}
    assert len(codes) > 40
    assert [code for code in codes if not CODE.fullmatch(code)] == []


def test_failure_without_a_code_would_be_found():
    source = "def f():\n    raise VaultError('no code')\n    raise DurationError('its class has one')"
    assert [value for dummy, value in errors_in(ast.parse(source))] == [None, None]
    assert (error_classes()["VaultError"], error_classes()["DurationError"]) == ("", "invalid_duration")


def test_code_in_a_variable_or_a_condition_is_found():
    source = """def explain_f() -> tuple[str, str]:
    code = 'first_code' if lost else 'second_code'
    raise VaultError('m', code=code)
    return 'A message.', 'third_code'"""
    assert codes_in(ast.parse(source).body[0]) == {"first_code", "second_code", "third_code"}
