"""What a server is sent as a packed version, and is none."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import cast

import pytest

from millrace.ci.promotion.server import accept_archive
from millrace.core.errors import InvalidInput
from millrace.workspace import Workspace

NOBODY = cast("Workspace", None)  # nothing is done in a home before the archive was looked at


def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, to, len(name) if kind == tarfile.REGTYPE else 0
    return made


def packed(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as opened:
        for each in members:
            opened.addfile(each, io.BytesIO(each.name.encode()))
    return path


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("/out-of-it")],
        [member("a/../../out")],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("folder", tarfile.SYMTYPE, ".."), member("folder/out")],
        [member("hard", tarfile.LNKTYPE, "bundle.json")],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("device", tarfile.CHRTYPE)],
        [member("twice"), member("twice")],
        [member("file"), member("file/below")],
        [member("folder/file"), member("folder")],
    ],
    ids=lambda members: members[-1].name,
)
def test_what_is_no_file_in_its_folder_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    with pytest.raises(InvalidInput, match="this is not a packed version"):
        accept_archive(NOBODY, packed(tmp_path / "bundle.tar", *members), {}, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "bundle.tar"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize("size", [0, 100, 700])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    whole = packed(tmp_path / "whole.tar", member("a"), member("b")).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:size])
    (tmp_path / "bundle").mkdir()
    with pytest.raises(InvalidInput, match="this is not a packed version"):
        accept_archive(NOBODY, tmp_path / "cut.tar", {}, tmp_path / "bundle")


def test_files_are_unpacked_as_they_were_packed_and_other_terms_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "bundle.tar", member(".", tarfile.DIRTYPE), member("./model/MLmodel"), member("b"))
    (tmp_path / "bundle").mkdir()
    with pytest.raises(InvalidInput, match="the terms are not those of a promotion"):
        accept_archive(NOBODY, archive, {"target": "prod", "colour": "red"}, tmp_path / "bundle")
    found = {
        str(path.relative_to(tmp_path / "bundle")): path for path in (tmp_path / "bundle").rglob("*") if path.is_file()
    }
    assert {name: path.read_text() for name, path in found.items()} == {"model/MLmodel": "./model/MLmodel", "b": "b"}
