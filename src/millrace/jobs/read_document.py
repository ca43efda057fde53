"""Reading a JSON document field by field: what is missing, of another kind, or unknown is refused with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

_MISSING = object()


def refuse(message: str, hint: str) -> NoReturn:
    """Raise InvalidInput."""
    raise InvalidInput(message, hint=hint)


class Fields:
    """The fields of one JSON object; what was not asked for when it `end`s is unknown.

    Attributes:
        name: what the object is called in messages.
    """

    def __init__(self, document: object, name: str) -> None:
        self.name = name
        if not isinstance(document, Mapping):
            refuse(f"{name} is {_shown(document)}, and should be an object with fields", "write { ... }")
        self._document: Mapping[str, Any] = document
        self._known: set[str] = set()

    def __contains__(self, field: str) -> bool:
        return self._document.get(field) is not None

    def take(self, field: str, default: object = None) -> Any:
        """The value as it is; null is as if it were not there."""
        self._known.add(field)
        found = self._document.get(field)
        return default if found is None else found

    def ignore(self, field: str) -> None:
        """A field that may be there and says nothing to us."""
        self._known.add(field)

    def text(self, field: str, default: object = _MISSING) -> str:
        """A text."""
        return str(self._of(field, str, "a text", default))

    def whole(self, field: str, default: int) -> int:
        """A whole number; true and false are none."""
        found = self._of(field, int, "a whole number", default)
        if isinstance(found, bool):
            self._wrong(field, found, "a whole number")
        return int(found)

    def flag(self, field: str, *, default: bool) -> bool:
        """True or false."""
        return bool(self._of(field, bool, "true or false", default))

    def choice(self, field: str, choices: Sequence[str], default: object = _MISSING) -> Any:
        """One of these texts."""
        found = self.text(field, default)
        if found not in choices:
            refuse(f"{self.name} has {field} '{found}'", did_you_mean(found, choices))
        return found

    def choice_or_none(self, field: str, choices: Sequence[str]) -> Any:
        """One of these texts, or None where there is no such field."""
        return self.choice(field, choices) if field in self else self.take(field)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self._of(field, list, "a list of texts", [])
        for each in found:
            if not isinstance(each, str):
                self._wrong(field, found, "a list of texts")
        return tuple(found)

    def texts_by_name(self, field: str) -> dict[str, str]:
        """Texts by name."""
        found = self._of(field, dict, "an object of texts", {})
        for name, each in found.items():
            if not isinstance(each, str) or not isinstance(name, str):
                self._wrong(f"{field}.{name}", each, "a text")
        return dict(found)

    def fields(self, field: str) -> Fields | None:
        """An object; None where there is none."""
        found = self.take(field)
        return None if found is None else Fields(found, f"{field} of {self.name}")

    def many(self, field: str) -> list[Fields]:
        """A list of objects."""
        found = self._of(field, list, "a list of objects", [])
        return [Fields(each, f"{field}[{number}] of {self.name}") for number, each in enumerate(found)]

    def end(self) -> None:
        """Raise InvalidInput where there is a field that nobody asked for."""
        unknown = [field for field in self._document if field not in self._known]
        if unknown:
            refuse(f"{self.name} has a field '{unknown[0]}' that there is not", did_you_mean(unknown[0], self._known))

    def _of(self, field: str, kind: type, said: str, default: object) -> Any:
        found = self.take(field, default)
        if found is _MISSING:
            refuse(f"{self.name} has no {field}", f"give {field}: {said}")
        if not isinstance(found, kind):
            self._wrong(field, found, said)
        return found

    def _wrong(self, field: str, found: object, said: str) -> NoReturn:
        hint = f'write "{found}"' if said == "a text" and isinstance(found, int | float) else f"give {said}"
        refuse(f"{self.name} has {field} {_shown(found)}, and should have {said}", hint)


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line's worth
