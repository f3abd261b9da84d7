# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part is built once, wholly or not at all, and again when anything that goes into it changed."""

from __future__ import annotations

import io

import pytest

from lab.parts import Part, build_all
from lab.places import LabError
from lab.progress import Progress


def write_hello(shop):
    (shop.folder / "hello").write_text("hello")


def write_bye(shop):
    (shop.folder / "hello").write_text("bye")


@pytest.fixture
def progress(own_cache):
    own_cache.mkdir(parents=True)
    return lambda total: Progress(own_cache / "timings.json", total, io.StringIO())


def test_same_inputs_same_key(tmp_path):
    (tmp_path / "in").write_text("x")
    assert (
        Part("a", "A", write_hello, (tmp_path / "in",)).key
        == Part("a", "other title", write_hello, (tmp_path / "in",)).key
    )


def test_key_follows_every_input(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "one").write_text("1")
    need = Part("need", "Need", write_hello)
    keys = [Part("a", "A", write_hello, (folder, "text"), (need,)).key]
    (folder / "sub" / "one").write_text("2")
    keys.append(Part("a", "A", write_hello, (folder, "text"), (need,)).key)
    (folder / "sub" / "one").rename(folder / "sub" / "two")
    keys.append(Part("a", "A", write_hello, (folder, "text"), (need,)).key)
    keys.append(Part("a", "A", write_hello, (folder, "other"), (need,)).key)
    keys.append(Part("a", "A", write_bye, (folder, "other"), (need,)).key)
    keys.append(Part("a", "A", write_bye, (folder, "other"), (Part("need", "Need", write_bye),)).key)
    keys.append(Part("b", "A", write_bye, (folder, "other"), (Part("need", "Need", write_bye),)).key)
    assert len(set(keys)) == len(keys)


def test_built_once(progress):
    part = Part("a", "A", write_hello)
    assert build_all([part], progress) == 1
    assert (part.folder / "hello").read_text() == "hello"
    assert build_all([part], progress) == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_interruption_leaves_no_part_and_the_next_run_goes_on(progress, stop):
    tries = []

    def interrupted(shop):
        (shop.folder / "half").write_text("half")
        tries.append(1)
        if len(tries) == 1:
            raise stop

    first, second = Part("first", "First", write_hello), Part("second", "Second", interrupted)
    with pytest.raises(stop):
        build_all([first, second], progress)
    assert first.folder.exists()
    assert not second.folder.exists()
    assert build_all([first, second], progress) == 1
    assert second.folder.exists()


def test_what_an_interrupted_build_left_is_not_in_the_part(progress):
    part = Part("a", "A", write_hello)
    partial = part.folder.with_name("a.partial")
    partial.mkdir(parents=True)
    (partial / "left").write_text("left")
    build_all([part], progress)
    assert [path.name for path in part.folder.iterdir()] == ["hello"]


def test_failure_names_the_part_the_last_lines_and_the_log(progress, own_cache):
    def fails(shop):
        shop.run("sh", "-c", "echo to stdout; echo this is why >&2; exit 3")

    with pytest.raises(LabError) as caught:
        build_all([Part("broken", "Broken thing 1.2", fails)], progress)
    message = str(caught.value)
    assert message.startswith("Broken thing 1.2 was not built: sh ended with 3")
    assert "this is why" in message
    assert str(own_cache / "log" / "broken.log") in message


def test_missing_program_is_a_failure_of_the_part_too(progress):
    with pytest.raises(LabError, match=r"A was not built: .*no-such-program"):
        build_all([Part("a", "A", lambda shop: shop.run("no-such-program"))], progress)
