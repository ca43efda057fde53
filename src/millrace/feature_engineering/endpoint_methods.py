"""The client's part for endpoints that serve features."""

from __future__ import annotations

from millrace.core.errors import InvalidInput, InvalidState
from millrace.feature_engineering.endpoint_types import EndpointCoreConfig, FeatureServingEndpoint
from millrace.targets.local_server import find_server, home_token
from millrace.targets.port import FeatureTarget
from millrace.workspace import Workspace


class EndpointMethods:
    """Endpoints that serve feature specs, on the home's running server.

    All methods raise InvalidState where no server runs on the home.
    """

    _workspace: Workspace

    def create_feature_serving_endpoint(self, *, name: str, config: EndpointCoreConfig) -> FeatureServingEndpoint:
        """Make an endpoint that answers with the features of named specs; it answers when this returns.

        Specs are taken as they are now: a spec that is updated later is served as it was until the endpoint is updated.

        Args:
            name: up to 128 letters, digits, `_`, `-` and `.`.
            config: what to serve.

        Raises:
            AlreadyExists: there is an endpoint of that name.
            NotFound: no such spec.
            InvalidInput: the name, the traffic or the capture is wrong.
            InvalidState: a table that a spec looks up is not online; or the deployment failed, and the message says why.
        """
        wanted = _checked(config).to_deploy()
        return _done(FeatureServingEndpoint.of(self._feature_target().create(name, wanted)))

    def update_feature_serving_endpoint(self, *, name: str, config: EndpointCoreConfig) -> FeatureServingEndpoint:
        """Change what an endpoint serves, with specs as they are now; what it served answers until the change is made.

        Raises:
            NotFound: no such endpoint or spec.
            InvalidInput: the endpoint serves models, or the traffic or the capture is wrong.
            InvalidState: as `create_feature_serving_endpoint`; the endpoint serves what it did before.
        """
        wanted = _checked(config).to_deploy()
        return _done(FeatureServingEndpoint.of(self._feature_target().update(name, wanted)))

    def get_feature_serving_endpoint(self, *, name: str) -> FeatureServingEndpoint:
        """How an endpoint stands. Raises NotFound, and InvalidInput where it serves models."""
        return FeatureServingEndpoint.of(self._feature_target().status(name))

    def delete_feature_serving_endpoint(self, *, name: str) -> None:
        """Take an endpoint away. Raises NotFound, and InvalidInput where it serves models."""
        self._feature_target().delete(name)

    def _feature_target(self) -> FeatureTarget:
        home = self._workspace.home
        server = find_server(home)
        if server is None:
            raise InvalidState(
                f"no server runs on the home {home}, and endpoints are the server's",
                hint=f"start one in another terminal: millrace up --home {home}",
            )
        return self._workspace.feature_target(server.url, home_token(home), server.certificate)


def _checked(config: object) -> EndpointCoreConfig:
    if isinstance(config, EndpointCoreConfig):
        return config
    raise InvalidInput(
        "config is not an EndpointCoreConfig",
        hint="EndpointCoreConfig(served_entities=ServedEntity(feature_spec_name='ml.specs.churn'))",
    )


def _done(endpoint: FeatureServingEndpoint) -> FeatureServingEndpoint:
    if endpoint.config_update == "UPDATE_FAILED":
        raise InvalidState(
            f"endpoint '{endpoint.name}' could not be deployed: {endpoint.message}",
            hint="mend that, then update the endpoint",
            endpoint=endpoint.name,
        )
    return endpoint
