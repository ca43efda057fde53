"""A version on its way: a folder with the model's files as they are, what was kept with its run, and a document about both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput, LawBroken
from millrace.registry.types import ModelName

MODEL, RUN, DOCUMENT = "model", "run", "bundle.json"  # names in the folder
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Need:
    """A table that the version looks features up in: columns to their types, as they are where it comes from."""

    table: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """A place that the version has been at: what it was there."""

    place: str
    version: str
    run_id: str | None
    at: str


@dataclass(frozen=True, slots=True)
class KeptRun:
    """The training run, without its files."""

    experiment: str
    name: str
    started_at: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the document says.

    Attributes:
        tags: of the version.
        origin: where it has been, oldest first; the last is where it was packed.
        files: path under `model/` to SHA-256.
        kept: path under `run/` to SHA-256.
        needs: tables that must be where it goes.
        verdict: what the gates said of it; empty where nobody asked them.
        deployment: where it is served: `endpoint`, `staging`, `capture`, `canary`; empty where that is not known.
    """

    model: ModelName
    tags: Mapping[str, str]
    origin: tuple[Step, ...]
    files: Mapping[str, str]
    kept: Mapping[str, str] = field(default_factory=dict)
    run: KeptRun | None = None
    needs: tuple[Need, ...] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict)
    deployment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One hash of all files of the model: equal files are one version at the next place, however often they come."""
        lines = "".join(f"{path}\0{digest}\n" for path, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def source(self) -> Step:
        """Where it was packed."""
        return self.origin[-1]

    def to_json(self) -> str:
        """The document."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, default=str)


def read_bundle(folder: Path) -> Bundle:
    """The document of a bundle, its files held against their hashes.

    Raises:
        InvalidInput: it is no bundle, or one of a newer format, or files differ or lead elsewhere.
    """
    bundle = document_of(folder)
    for part, expected in ((MODEL, bundle.files), (RUN, bundle.kept)):
        if hashes(folder / part) != expected:
            raise InvalidInput(
                f"the files of {bundle.model} differ from those that were packed", hint="promote it again"
            )
    return bundle


def document_of(folder: Path) -> Bundle:
    """The document of a bundle alone. Raises InvalidInput where it is none, or of a newer format."""
    try:
        body = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        if body.pop("format") > _FORMAT:
            raise InvalidInput(
                "the bundle was packed by a newer millrace", hint="upgrade the millrace that receives it"
            )
        run = body.pop("run")
        return Bundle(
            model=ModelName(body.pop("model")),
            origin=tuple(Step(**step) for step in body.pop("origin")),
            needs=tuple(Need(**need) for need in body.pop("needs")),
            run=None if run is None else KeptRun(**run),
            **body,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("this is not a packed version", hint="pack it again, by promoting it again") from error


def hashes(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every file in a folder; empty where there is none.

    Raises:
        InvalidInput: a link is among them: what it leads to is not part of the folder.
    """
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_symlink():
            raise InvalidInput(f"{path} is a link", hint="log the model again, with its own files")
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = _digest(path)
    return found


def require_equal(found: Mapping[str, str], expected: Mapping[str, str], what: str) -> None:
    """Raise LawBroken where files are not those that they must be."""
    differing: Sequence[str] = sorted(
        path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)
    )
    if differing:
        raise LawBroken(f"{what} differs after it was copied: {', '.join(differing[:5])}", hint="please report this")


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
