"""A server as the place that a version goes to, and what the server does with it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from millrace.ci.promotion.bundle import Bundle, read_bundle
from millrace.ci.promotion.promote import Accepted, HomeDestination, Terms
from millrace.ci.promotion.receive import missing, refuse_missing
from millrace.ci.promotion.serve import Served
from millrace.ci.types import Check, Target
from millrace.core.errors import InvalidInput, UsageError
from millrace.targets.port import PromotionTarget
from millrace.workspace import Workspace, open_target, promotion_target

_HINT = "send it with `millrace promote`"


@dataclass(frozen=True)
class ServerDestination:
    """A running server, over its REST API."""

    url: str
    server: PromotionTarget

    @property
    def place(self) -> str:
        """The server's URL."""
        return self.url

    def check(self, bundle: Bundle) -> None:
        """Ask for what is missing there."""
        refuse_missing(bundle, list(self.server.missing(bundle.to_json())), self.url)

    def accept(self, bundle: Bundle, folder: Path, terms: Terms) -> Accepted:
        """Send all files, and wait until they are served."""
        del bundle
        with TemporaryDirectory(prefix="millrace-upload-") as scratch:
            archive = Path(scratch) / "bundle.tar"
            with tarfile.open(archive, "w") as opened:
                opened.add(folder, ".")
            answer = self.server.accept(archive, asdict(terms))
        checks = tuple(Check(**check) for check in answer["checks"])
        return Accepted(answer["version"], Served(answer["status"], checks))


def server_of(target: Target) -> ServerDestination:
    """A target's server, with the token that the environment has.

    Raises:
        UsageError: the environment has none, or the certificate can't be read.
    """
    assert target.server is not None  # noqa: S101 - asked by the caller
    token = os.environ.get(target.token_env, "").strip()
    if not token:
        raise UsageError(
            f"target {target.name} needs a token, and {target.token_env} is not set",
            hint=f"set {target.token_env} to the token of the home that {target.server} serves",
        )
    try:
        certificate = None if target.certificate is None else target.certificate.read_text()
    except OSError as error:
        raise UsageError(
            f"the certificate {target.certificate} can't be read: {error.strerror}", hint="name a PEM file"
        ) from error
    return ServerDestination(target.server, promotion_target(target.server, token, certificate))


def lacking(workspace: Workspace, document: Mapping[str, Any], folder: Path) -> list[str]:
    """What a bundle's document asks for and this home lacks. `folder` is scratch."""
    import json

    from millrace.ci.promotion.bundle import DOCUMENT, document_of

    (folder / DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
    return missing(workspace, document_of(folder))


def accept_archive(workspace: Workspace, archive: Path, terms: Mapping[str, Any], folder: Path) -> dict[str, object]:
    """Unpack a bundle that was sent, hold it against its hashes, receive and serve it.

    Args:
        workspace: the home.
        archive: a tar file.
        terms: as `Terms`.
        folder: an empty one, for the files.

    Raises:
        InvalidInput: it is no bundle, leads out of its folder, or the terms are not what they should be.
    """
    _unpack(archive, folder)
    try:
        agreed = Terms(**terms)
    except TypeError as error:
        raise InvalidInput("the terms are not those of a promotion", hint=_HINT) from error
    bundle = read_bundle(folder)
    destination = HomeDestination(workspace, lambda: open_target(workspace))
    destination.check(bundle)
    accepted = destination.accept(bundle, folder, agreed)
    return {
        "version": accepted.version,
        "status": accepted.served.status,
        "checks": [asdict(check) for check in accepted.served.checks],
    }


def _unpack(archive: Path, folder: Path) -> None:
    """Files and folders, and nothing that is a link, a device, or outside of the folder. The first Pythons 3.11 lack `tarfile`'s own filters."""
    root = folder.resolve()
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                to = (root / member.name).resolve()
                if not to.is_relative_to(root) or not (member.isreg() or member.isdir()):
                    raise InvalidInput(f"this is not a packed version: it has '{member.name}'", hint=_HINT)
                (to if member.isdir() else to.parent).mkdir(parents=True, exist_ok=True)
                if (content := opened.extractfile(member)) is not None:
                    with content, to.open("xb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise InvalidInput("this is not a packed version", hint=_HINT) from error
