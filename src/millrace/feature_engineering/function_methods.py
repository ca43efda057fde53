"""The client's part for feature functions and named feature specs."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidInput
from millrace.feature_engineering.options import names, only_default
from millrace.features import feature_specs
from millrace.features.feature_specs import make_feature_spec, spec_name
from millrace.features.functions import store as function_store
from millrace.features.functions.source import function_name
from millrace.features.functions.store import finder
from millrace.features.types import FeatureFunction, FeatureLookup, FeatureSpec, FunctionVersion, NamedFeatureSpec
from millrace.workspace import Workspace


class FunctionMethods:
    """Registering functions, and keeping lookups and functions under a name."""

    _workspace: Workspace

    def create_function(self, *, name: str, function: object, description: str | None = None) -> FunctionVersion:
        """Register a Python function with annotated parameters and result; other code under a name is a new version.

        Args:
            name: one to three levels, as `ml.functions.days_between`.
            function: complete in itself: it imports inside its body what it needs. Types are `float, int, str, bool, date,
                datetime, Decimal`, each may be `| None`.
            description: for people; None: the first line of its docstring.

        Raises:
            InvalidInput: it uses names from outside itself, its source can't be found, or it is not annotated so.
        """
        return function_store.create_function(self._workspace.functions, name, function, description)

    def get_function(self, *, name: str, version: int | None = None) -> FunctionVersion:
        """A registered function with its source, the newest version where None. Raises NotFound."""
        return self._workspace.functions.get(function_name(name), version)

    def list_functions(self) -> Sequence[FunctionVersion]:
        """The newest version of each registered function, by name."""
        return self._workspace.functions.list()

    def delete_function(self, *, name: str) -> None:
        """Forget a function. Models and feature specs that carry it keep their copy. Raises NotFound."""
        self._workspace.functions.delete(function_name(name))

    def create_feature_spec(
        self,
        *,
        name: str,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: str | Sequence[str] | None = None,
        description: str = "",
        extra_pip_requirements: Sequence[str] | None = None,
    ) -> NamedFeatureSpec:
        """Keep lookups and functions under a name, for training sets and for endpoints that serve features.

        Functions are kept as they are now: a later version changes nothing until the spec is updated.

        Args:
            name: one to three levels, as `ml.specs.churn`.
            features: lookups, and functions in the order in which they are computed.
            exclude_columns: outputs that are made for functions only.
            description: for people.
            extra_pip_requirements: not supported: functions run in this environment.

        Raises:
            AlreadyExists: a spec of that name exists.
            NotFound: an unknown table or function.
            InvalidInput: a lookup, a function or an exclusion does not fit.
        """
        only_default(extra_pip_requirements=extra_pip_requirements)
        name = spec_name(name)
        made = self._made(features, exclude_columns)
        return feature_specs.create_feature_spec(self._workspace.feature_specs, name, made, description)

    def get_feature_spec(self, *, name: str) -> NamedFeatureSpec:
        """A named feature spec. Raises NotFound."""
        return self._workspace.feature_specs.get(spec_name(name))

    def list_feature_specs(self) -> Sequence[NamedFeatureSpec]:
        """All named feature specs, by name."""
        return self._workspace.feature_specs.list()

    def update_feature_spec(
        self,
        *,
        name: str,
        features: Sequence[FeatureLookup | FeatureFunction] | None = None,
        exclude_columns: str | Sequence[str] | None = None,
        description: str | None = None,
        owner: str | None = None,
    ) -> NamedFeatureSpec:
        """Replace what is given; `features` and `exclude_columns` go together, and take functions as they are now.

        Raises:
            NotFound: no spec of that name, an unknown table or function.
            InvalidInput: a lookup, a function or an exclusion does not fit.
        """
        kept = self.get_feature_spec(name=name)
        made = None if features is None else self._made(features, exclude_columns)
        if features is None and exclude_columns is not None:
            raise InvalidInput("exclude_columns is given without features", hint="give both, or neither")
        return self._workspace.feature_specs.update(kept.name, spec=made, description=description, owner=owner)

    def delete_feature_spec(self, *, name: str) -> None:
        """Forget a named feature spec. Raises NotFound."""
        self._workspace.feature_specs.delete(spec_name(name))

    def _made(
        self, features: Sequence[FeatureLookup | FeatureFunction], exclude: str | Sequence[str] | None
    ) -> FeatureSpec:
        workspace = self._workspace
        find = finder(workspace.functions)
        return make_feature_spec(workspace.lake, features, find, exclude=names(exclude), as_of=workspace.clock.now())
