# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part is built once, completely or not at all, and again after any of its inputs changed."""

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


def test_title_does_not_change_key(tmp_path):
    (tmp_path / "in").write_text("x")
    assert (
        Part("a", "A", write_hello, (tmp_path / "in",)).key
        == Part("a", "other title", write_hello, (tmp_path / "in",)).key
    )


def test_every_input_changes_key(tmp_path):
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


def test_part_is_built_once(progress):
    part = Part("a", "A", write_hello)
    assert build_all([part], progress) == 1
    assert (part.folder / "hello").read_text() == "hello"
    assert build_all([part], progress) == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_next_run_continues_after_interruption(progress, stop):
    attempts = []

    def interrupted(shop):
        (shop.folder / "half").write_text("half")
        attempts.append(1)
        if len(attempts) == 1:
            raise stop

    first, second = Part("first", "First", write_hello), Part("second", "Second", interrupted)
    with pytest.raises(stop):
        build_all([first, second], progress)
    assert first.folder.exists()
    assert not second.folder.exists()
    assert build_all([first, second], progress) == 1
    assert second.folder.exists()


def test_files_of_interrupted_build_are_removed(progress):
    part = Part("a", "A", write_hello)
    partial = part.folder.with_name("a.partial")
    partial.mkdir(parents=True)
    (partial / "left").write_text("left")
    build_all([part], progress)
    assert [path.name for path in part.folder.iterdir()] == ["hello"]


def test_error_names_part_output_and_log(progress, own_cache):
    def fails(shop):
        shop.run("sh", "-c", "echo to stdout; echo this is why >&2; exit 3")

    with pytest.raises(LabError) as caught:
        build_all([Part("broken", "Broken thing 1.2", fails)], progress)
    message = str(caught.value)
    for part in ("Broken thing 1.2", "sh exited with status 3", "this is why"):
        assert part in message
    assert str(own_cache / "log" / "broken.log") in message


def test_missing_program_fails_the_part(progress):
    with pytest.raises(LabError, match=r"A .*no-such-program"):
        build_all([Part("a", "A", lambda shop: shop.run("no-such-program"))], progress)
