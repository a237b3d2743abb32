"""Exported pages, as far as no download and no browser is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvcalc.errors import KvcalcError
from kvcalc.web.export.archives import tar_gz, untarred, unzipped, zipped
from kvcalc.web.export.downloads import PYODIDE, Download, had
from kvcalc.web.export.folder import MARK, write_folder
from kvcalc.web.export.page_files import INDEX, NOTICE, hosted
from kvcalc.web.export.single import single_file
from kvcalc.web.files import TYPES, page_file

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

FILES = {"b/c.txt": b"two", "a.txt": b"one" * 1000}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_archives_have_the_same_bytes_whatever_the_order() -> None:
    reordered = dict(reversed(FILES.items()))
    assert tar_gz(FILES) == tar_gz(reordered)
    assert zipped(FILES) == zipped(reordered)
    assert untarred(tar_gz(FILES)) == unzipped(zipped(FILES)) == FILES


def test_a_folder_is_new_or_empty_or_of_an_export(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "site"
    write_folder(folder, {"a": b"1", "b": b"2"})
    assert names(folder) == {"a", "b", MARK}
    assert names(folder.parent) == {"site"}
    (folder / "CNAME").write_text("mine")
    write_folder(folder, {"a": b"3"})
    assert names(folder) == {"a", "CNAME", MARK}
    assert (folder / "a").read_bytes() == b"3"


def test_a_folder_of_others_stays_as_it_is(tmp_path: Path, kvcalc: Kvcalc) -> None:
    (tmp_path / "mine").write_text("mine")
    ran = kvcalc("web", "--export", str(tmp_path))
    assert ran.code == 2
    assert "holds files that kvcalc did not write; name a new folder" in ran.stderr
    assert names(tmp_path) == {"mine"}
    assert "name a folder, or add --single" in kvcalc("web", "--export", str(tmp_path / "mine")).stderr


def test_a_mark_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / MARK).write_text('{"files": {"../precious": ""}}')
    write_folder(folder, {"a": b"1"})
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("option", [["--single"], ["--pyodide", "folder"]])
def test_options_of_an_export_need_one(kvcalc: Kvcalc, option: list[str]) -> None:
    ran = kvcalc("web", *option)
    assert (ran.code, option[0] in ran.stderr) == (2, True)


def test_a_download_is_what_was_pinned(tmp_path: Path) -> None:
    (tmp_path / PYODIDE.name).write_bytes(b"something else")
    with pytest.raises(KvcalcError, match=r"is not pyodide-.* as it was published"):
        had(PYODIDE, tmp_path)


def test_a_download_that_cannot_be_had_names_its_address(tmp_path: Path) -> None:
    missing = Download("nothing.whl", f"{tmp_path.as_uri()}/", 1, "")
    with pytest.raises(KvcalcError, match=r"next: download file://.*nothing.whl into a folder"):
        had(missing, tmp_path / "kept")


def test_the_page_is_told_where_it_may_load_from() -> None:
    page = {name: page_file(name) for name in TYPES} | {
        NOTICE: b"notice",
        "worker.js": b"",
        "python.tar.gz": b"\x1f\x8b",
    }
    index = hosted(page)[INDEX].decode()
    assert "script-src 'self' 'wasm-unsafe-eval'" in index
    alone = single_file(page)
    assert "'self'" not in alone.split("img-src")[0]
    assert 'src="' not in alone
    assert 'data-file="python.tar.gz"' in alone


def test_a_kept_page_is_replaced_when_any_byte_changes() -> None:
    page = {name: page_file(name) for name in TYPES}
    before = hosted(page)["service-worker.js"]
    assert hosted(page)["service-worker.js"] == before
    assert hosted({**page, "page.css": b""})["service-worker.js"] != before
