"""Secrets by scope and key, and keeping them out of what is printed."""

from __future__ import annotations

import html
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from millrace.core.errors import InvalidInput, NotFound, PermissionDenied
from millrace.core.names import did_you_mean

FILE = "secrets.json"
REDACTED = "[REDACTED]"
_PREFIX = "MILLRACE_SECRET_"
_SHORTEST = 4
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secrets:
    """What the environment and the home's file hold; the environment wins.

    `MILLRACE_SECRET_<SCOPE>_<KEY>` in capitals, other signs than letters and digits as `_`; or `secrets.json` in the home,
    `{"scope": {"key": "value"}}`, readable by its owner alone.
    """

    def __init__(self, home: Path, env: Mapping[str, str] | None = None) -> None:
        self._file, self._env = home / FILE, os.environ if env is None else env

    def get(self, scope: str, key: str) -> str:
        """The secret.

        Raises:
            NotFound: there is none of that name.
            InvalidInput: it is too short to be kept out of outputs, or the file can't be read.
            PermissionDenied: others may read the file.
        """
        value = self._env.get(_variable(scope, key))
        if value is None:
            known = self._read()
            if key not in known.get(scope, {}):
                raise NotFound(
                    f"there is no secret '{key}' in the scope '{scope}'",
                    hint=f"set {_variable(scope, key)}, or write it into {self._file}",
                )
            value = known[scope][key]
        if len(value) < _SHORTEST:
            raise InvalidInput(
                f"the secret '{key}' is shorter than {_SHORTEST} characters, and could not be kept out of outputs",
                hint="take a longer one",
            )
        return value

    def keys(self, scope: str) -> list[str]:
        """Names of the secrets of a scope in the file."""
        known = self._read()
        if scope not in known:
            raise NotFound(f"there is no scope '{scope}' in {self._file}", hint=did_you_mean(scope, known))
        return sorted(known[scope])

    def scopes(self) -> list[str]:
        """Names of the scopes in the file."""
        return sorted(self._read())

    def values(self) -> list[str]:
        """All that must not be printed. Of a file that can't be read, nothing: nobody gets anything out of it either."""
        try:
            known = self._read()
        except (InvalidInput, PermissionDenied):
            known = {}
        held = [value for name, value in self._env.items() if name.startswith(_PREFIX)]
        return [*held, *(value for scope in known.values() for value in scope.values())]

    def _read(self) -> Mapping[str, Mapping[str, str]]:
        try:
            mode = self._file.stat().st_mode
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        if mode & _OTHERS:
            raise PermissionDenied(f"others may read {self._file}", hint=f"chmod 600 {self._file}")
        try:
            known = json.loads(text)
        except ValueError:
            known = None  # what is wrong where is not told: it would quote the file
        if not isinstance(known, dict) or not all(map(_is_scope, known.values())):
            raise InvalidInput(
                f"{self._file} does not hold secrets", hint='write {"scope": {"key": "value"}}, all values texts'
            )
        return known


class Redactor:
    """Replaces secrets in texts, also as HTML, JSON and Python show them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        shown = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        longest_first = sorted(shown, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)

    def inside(self, value: object) -> object:
        """The same JSON value with all texts in it redacted."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                return {
                    self.text(name) if isinstance(name, str) else name: self.inside(each)
                    for name, each in value.items()
                }
            case list() | tuple():
                return [self.inside(each) for each in value]
            case _:
                return value


def _forms(secret: str) -> set[str]:
    quoted = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    in_bytes = repr(secret.encode())[2:-1]
    return {secret, html.escape(secret), html.escape(secret, quote=False), in_bytes, *quoted}


def _variable(scope: str, key: str) -> str:
    return _PREFIX + re.sub(r"[^A-Z0-9]", "_", f"{scope}_{key}".upper())


def _is_scope(scope: object) -> bool:
    return isinstance(scope, dict) and all(isinstance(value, str) for value in scope.values())
