"""`dbutils.widgets`: a notebook's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean
from millrace.notebooks.names.helped import Helped

WidgetKind = Literal["text", "dropdown", "combobox", "multiselect"]


@dataclass(frozen=True, slots=True)
class Widget:
    """One parameter, with its value now."""

    name: str
    kind: WidgetKind
    value: str
    choices: tuple[str, ...] = ()
    label: str = ""


class Widgets(Helped):
    """Parameters by name. A value that was given for the notebook comes before a widget's default, and can be read without a widget."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = dict(given)
        self._widgets: dict[str, Widget] = {}
        self.read: set[str] = set()

    def text(self, name: str, defaultValue: str = "", label: str = "") -> None:  # noqa: N803 - the name that people know
        """Make a parameter that takes any text."""
        self._make(Widget(name, "text", defaultValue, (), label))

    def dropdown(
        self,
        name: str,
        defaultValue: str,  # noqa: N803
        choices: Sequence[str],
        label: str = "",
    ) -> None:
        """Make a parameter that is one of these values."""
        self._make(Widget(name, "dropdown", defaultValue, tuple(choices), label))

    def combobox(
        self,
        name: str,
        defaultValue: str,  # noqa: N803
        choices: Sequence[str] = (),
        label: str = "",
    ) -> None:
        """Make a parameter that is one of these values, or any other."""
        self._make(Widget(name, "combobox", defaultValue, tuple(choices), label))

    def multiselect(
        self,
        name: str,
        defaultValue: str,  # noqa: N803
        choices: Sequence[str],
        label: str = "",
    ) -> None:
        """Make a parameter that is some of these values, with commas between them."""
        self._make(Widget(name, "multiselect", defaultValue, tuple(choices), label))

    def get(self, name: str) -> str:
        """The parameter's value.

        Raises:
            NotFound: there is neither a widget nor a given value of that name.
        """
        self.read.add(name)
        if name in self._widgets:
            return self._widgets[name].value
        if name in self._given:
            return self._given[name]
        known = sorted({*self._widgets, *self._given})
        hint = f"make one with dbutils.widgets.text('{name}', ''), or give --param {name}=VALUE"
        raise NotFound(
            f"there is no widget '{name}'" + (f": {did_you_mean(name, known)}" if known else ""), hint=hint, widget=name
        )

    def getArgument(self, name: str, defaultValue: str | None = None) -> str:  # noqa: N802, N803
        """The parameter's value, or this one where there is no such parameter."""
        if defaultValue is not None and name not in self._widgets and name not in self._given:
            self.read.add(name)
            return defaultValue
        return self.get(name)

    def getAll(self) -> dict[str, str]:  # noqa: N802 - the name that people know
        """All values, by name."""
        self.read.update(self._given)
        return {**self._given, **{name: widget.value for name, widget in self._widgets.items()}}

    def remove(self, name: str) -> None:
        """Take a widget away.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self._widgets:
            raise NotFound(f"there is no widget '{name}'", hint=did_you_mean(name, self._widgets), widget=name)
        del self._widgets[name]

    def removeAll(self) -> None:  # noqa: N802 - the name that people know
        """Take all widgets away."""
        self._widgets.clear()

    def give(self, parameters: Mapping[str, str]) -> None:
        """Values of a `%run`, for the widgets that there are and those to come."""
        self._given.update(parameters)
        for name in set(parameters) & set(self._widgets):
            self._make(self._widgets[name])

    def unread(self) -> list[str]:
        """Given parameters that nothing asked for."""
        return sorted(set(self._given) - self.read - set(self._widgets))

    def _make(self, widget: Widget) -> None:
        value = str(self._given.get(widget.name, widget.value))
        wrong = next(
            (part for part in _parts(widget.kind, value) if widget.choices and part not in widget.choices), None
        )
        if wrong is not None and widget.kind != "combobox":
            raise InvalidInput(
                f"the widget '{widget.name}' can't be '{wrong}'",
                hint=f"give one of: {', '.join(widget.choices)}",
                widget=widget.name,
            )
        self._widgets[widget.name] = Widget(widget.name, widget.kind, value, widget.choices, widget.label)


def _parts(kind: WidgetKind, value: str) -> list[str]:
    if kind != "multiselect":
        return [value]
    return [part for part in value.split(",") if part]
