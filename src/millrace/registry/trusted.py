"""Where models may be loaded from: a pickle runs code when it is loaded, so it has to come from the registry's own store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from millrace.core.errors import PermissionDenied

# Values of an MLmodel file that may be paths of elsewhere: MLflow never loads from them, or only by their last part.
_NOT_LOADED = frozenset({"uri", "config", "model_code_path"})
_HINT = "log the model into this home, or trust that place: MILLRACE_MODEL_SOURCES=PATH_OR_URL,..."


def trusted_folder(folder: Path, roots: Iterable[str], model: str) -> Path:
    """The folder with links and `..` resolved, where it lies under one of the roots.

    Raises:
        PermissionDenied: it lies elsewhere.
    """
    found = folder.resolve()
    if any(found.is_relative_to(Path(root).resolve()) for root in roots if not _is_url(root)):
        return found
    raise PermissionDenied(
        f"{model} lies at {found}, which is not this home's store of models", hint=_HINT, folder=str(found)
    )


def is_trusted_url(url: str, roots: Iterable[str]) -> bool:
    """Whether the URL lies under one of the roots."""
    split = urlsplit(url)
    if ".." in split.path.split("/") or "%2e" in url.lower() or split.query or split.fragment:
        return False
    return any(f"{url}/".startswith(root.rstrip("/") + "/") for root in roots if _is_url(root))


def untrusted_url(url: str, model: str) -> PermissionDenied:
    """The error for a model at a URL outside of the roots."""
    return PermissionDenied(f"{model} lies at {url}, which is not this home's store of models", hint=_HINT)


def require_closed(folder: Path, flavors: Mapping[str, object]) -> None:
    """Refuse a model folder from which something leads out: a link, or a path that its flavors name.

    Raises:
        PermissionDenied: there is one; the message names it.
    """
    inside = folder.resolve()
    named = (folder / text for text in _texts(flavors))
    links = (path for path in folder.rglob("*") if path.is_symlink())
    for path in (*links, *named):
        if not path.resolve().is_relative_to(inside):
            raise PermissionDenied(
                f"the model folder {folder} leads out of itself: {path}",
                hint="log the model again, with its own files",
                path=str(path),
            )


def _texts(value: object) -> Iterator[str]:
    """All texts in a document that could be paths: one without a slash is a file of the folder itself, or `..`."""
    if isinstance(value, str):
        if ("/" in value or value == "..") and "\0" not in value:
            yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _NOT_LOADED:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_url(place: str) -> bool:
    return "://" in place
