"""`dbutils.fs`: files of the home and of the project, and none elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound, PermissionDenied
from millrace.notebooks.names.helped import Helped

FOLDER = "files"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file or folder. `modificationTime` is in milliseconds since 1970."""

    path: str
    name: str
    size: int
    modificationTime: int  # noqa: N815 - the name that people know

    def isDir(self) -> bool:  # noqa: N802
        """Whether it is a folder."""
        return self.name.endswith("/")

    def isFile(self) -> bool:  # noqa: N802
        """Whether it is a file."""
        return not self.isDir()


class Files(Helped):
    """`dbfs:/x` and `/Volumes/x` are in the home's folder `files`; other paths are in the project, or that folder, or refused.

    Args:
        home: the home.
        project: what relative paths are relative to.
    """

    def __init__(self, home: Path, project: Path) -> None:
        self._root, self._project = (home / FOLDER).resolve(), project.resolve()
        self._home = home.resolve()

    def ls(self, path: str) -> list[FileInfo]:
        """What is in a folder, by name; of a file, itself."""
        found = self._existing(path)
        return [_info(each) for each in sorted(found.iterdir())] if found.is_dir() else [_info(found)]

    def head(self, path: str, maxBytes: int = 65536) -> str:  # noqa: N803
        """The beginning of a text file."""
        with self._existing(path).open("rb") as file:
            return file.read(maxBytes).decode("utf-8", errors="replace")

    def put(self, path: str, contents: str, overwrite: bool = False) -> bool:  # noqa: FBT001, FBT002
        """Write a text file.

        Raises:
            AlreadyExists: it is there, and not `overwrite`.
        """
        from millrace.notebooks.read import write_whole

        target = self._local(path)
        if target.exists() and not overwrite:
            raise AlreadyExists(f"{path} is there already", hint="give overwrite=True")
        write_whole(target, contents)
        return True

    def cp(self, source: str, to: str, recurse: bool = False) -> bool:  # noqa: FBT001, FBT002
        """Copy a file, or with `recurse` a folder."""
        origin, target = self._existing(source), self._local(to)
        self._refuse_folder(origin, source, recurse=recurse)
        target = target / origin.name if target.is_dir() and origin.is_file() else target
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target, dirs_exist_ok=True)
        else:
            shutil.copy2(origin, target)
        return True

    def mv(self, source: str, to: str, recurse: bool = False) -> bool:  # noqa: FBT001, FBT002
        """Move a file, or with `recurse` a folder."""
        origin, target = self._existing(source), self._local(to)
        self._refuse_folder(origin, source, recurse=recurse)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(origin, target)
        return True

    def rm(self, path: str, recurse: bool = False) -> bool:  # noqa: FBT001, FBT002
        """Remove a file, or with `recurse` a folder. False where there is none."""
        target = self._local(path)
        if target in {self._root, self._project}:
            raise PermissionDenied(f"{path} is the whole of it", hint="remove what is in it")
        if not target.exists():
            return False
        self._refuse_folder(target, path, recurse=recurse)
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        return True

    def mkdirs(self, path: str) -> bool:
        """Make a folder, and those above it."""
        self._local(path).mkdir(parents=True, exist_ok=True)
        return True

    def _existing(self, path: str) -> Path:
        found = self._local(path)
        if not found.exists():
            raise NotFound(f"there is no {path}", hint=f"it would be at {found}", path=str(found))
        return found

    def _local(self, path: str) -> Path:
        plain = path.removeprefix("file:") if path.startswith("file:/") else path
        if plain.startswith("dbfs:/"):
            found = self._root / plain.removeprefix("dbfs:").lstrip("/")
        elif plain.startswith(("/Volumes/", "/FileStore/")):
            found = self._root / plain.lstrip("/")
        else:
            found = self._project / plain
        real = found.resolve()
        if real.is_relative_to(self._root):
            return real
        # The home is often inside the project: its databases and keys are not the project's files.
        if real.is_relative_to(self._project) and not real.is_relative_to(self._home):
            return real
        raise PermissionDenied(
            f"{path} is outside the project and the home's files",
            hint=f"use dbfs:/NAME (in {self._root}) or a path in {self._project}",
        )

    @staticmethod
    def _refuse_folder(path: Path, given: str, *, recurse: bool) -> None:
        if path.is_dir() and not recurse:
            raise InvalidInput(f"{given} is a folder", hint="give recurse=True")


def _info(path: Path) -> FileInfo:
    state, is_folder = path.stat(), path.is_dir()
    size = 0 if is_folder else state.st_size
    return FileInfo(
        str(path) + ("/" if is_folder else ""), path.name + ("/" if is_folder else ""), size, int(state.st_mtime * 1000)
    )
