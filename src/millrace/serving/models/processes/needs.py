"""Which packages a model asks for that are not installed here as it asks for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.serving.models.mlmodel import read_model_folder

if TYPE_CHECKING:
    from importlib import metadata

    from packaging.requirements import Requirement

# Two names of one package: both hold the module `xgboost`, in the same versions.
_SAME = {"xgboost": "xgboost-cpu"}
# What loads the model is no part of it: MLflow reads the folders of its older versions.
_LOADERS = {"mlflow", "mlflow-skinny"}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs that is not here.

    Attributes:
        packages: requirements to install.
        reasons: for people, one each: `pricing==1.0 (2.0 is installed)`.
        python: `3.12` where the model was logged with another minor version of Python than this one, else None.
            Nothing that is installed here can be used then, so `packages` are all that the model names.
    """

    packages: tuple[str, ...]
    reasons: tuple[str, ...]
    python: str | None = None


def needs_of(folder: Path) -> Needs | None:
    """What the model in a folder needs that is not installed here; None where all of it is.

    Compared is what its requirements.txt names, as it names it: a pin, a range, an extra, where its marker holds. A
    requirement by address always counts as not here. Options in the file (another index, constraints) are not followed.
    """
    facts = read_model_folder(folder)
    named = [each for each in _requirements(folder) if each.name.lower() not in _LOADERS]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = ".".join((facts.python or here).split(".")[:2])
    if wanted != here:
        return Needs((*map(str, named), "mlflow", "pandas"), (f"Python {wanted} ({here} is here)",), wanted)
    lacking = {str(each): why for each in named if (why := _lacking(each)) is not None}
    return Needs(tuple(lacking), tuple(lacking.values())) if lacking else None


def _requirements(folder: Path) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    file = folder / "requirements.txt"
    for line in _text(file).splitlines() if file.is_file() else ():
        try:
            requirement = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:  # an empty line, a comment, an option, a path
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the model's {file.name} can't be read", hint="log the model with MLflow again") from error


def _lacking(wanted: Requirement) -> str | None:
    """What is wrong with what is installed, for people; None where nothing is."""
    from importlib import metadata

    if wanted.url:
        return f"{wanted.name} from an address of its own"
    try:
        installed = _installed(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted} (not installed)"
    if not wanted.specifier.contains(installed.version, prereleases=True):
        return f"{wanted} ({installed.version} is installed)"
    return next((f"{wanted}: {why}" for each in _extras(wanted, installed) if (why := _lacking(each))), None)


def _installed(name: str) -> metadata.Distribution:
    from importlib import metadata

    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return metadata.distribution(_SAME.get(name, name))


def _extras(wanted: Requirement, installed: metadata.Distribution) -> Iterator[Requirement]:
    """What the extras that are asked for add."""
    from packaging.requirements import Requirement

    for each in map(Requirement, installed.requires or () if wanted.extras else ()):
        marker = each.marker
        if (
            marker is not None
            and not marker.evaluate({"extra": ""})
            and any(marker.evaluate({"extra": extra}) for extra in wanted.extras)
        ):
            yield each
