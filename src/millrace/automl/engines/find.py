"""Which Python has an engine."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean

Engine = Literal["flaml", "autogluon"]
ENGINES: dict[Engine, tuple[str, ...]] = {
    "flaml": ("flaml[automl]", "xgboost<3", "pyarrow"),
    "autogluon": ("autogluon.tabular[lightgbm,xgboost,catboost]", "pyarrow"),
}
"""What an engine's environment needs. FLAML wants an older XGBoost than ours, AutoGluon an older pandas."""


def engine_named(name: str) -> Engine:
    """The engine of that name.

    Raises:
        InvalidInput: there is none; the hint gives the nearest name.
    """
    if name not in ENGINES:
        raise InvalidInput(
            f"'{name}' is no engine of AutoML", hint=did_you_mean(name, ("millrace", *ENGINES)), engine=name
        )
    return name


def interpreter(engine: Engine, home: Path, first: str | None = None) -> Path:
    """The Python that has it: the one that is named, else that of the home's `engines/<engine>`, else this one.

    Raises:
        NotFound: nobody has it; the hint says how to install it.
    """
    place = home / "engines" / engine
    for candidate in (*([Path(first)] if first else []), place / "bin" / "python", place / "Scripts" / "python.exe"):
        if candidate.exists():
            return candidate
    # Of a package that is only half there, the program says more.
    if find_spec(engine) is not None:
        return Path(sys.executable)
    raise NotFound(
        f"{engine} is not installed: no environment for it is at {place}",
        hint=f"python -m venv {place} && {installing(engine, place)}",
        engine=engine,
    )


def installing(engine: Engine, place: Path) -> str:
    """The command that puts an engine into an environment."""
    return f"{place / 'bin' / 'pip'} install {' '.join(repr(package) for package in ENGINES[engine])}"
