"""Baseten's addresses, and the calls of its SDK with errors of ours. Pages cited are those of docs.baseten.co."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx
from baseten.client import InferenceClient
from baseten.client.inferenceapi import (
    AsyncPredictRequest,
    AsyncRequestStatusResponse,
    ResponseError,
    ResponseErrorResponse,
)

from diarist.errors import BadRequest, DiaristError, EndpointError, EndpointUnavailable
from diarist_proxy.endpoint import Call
from diarist_proxy.endpoint.answer import Nobody, error_of
from diarist_proxy.settings import ProxySettings

_ABSENT = 404

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is called (reference/inference-api/overview)."""

    model: str
    environment: str  # a name, "development", or "deployment/<id>"
    region: str | None = None  # the environment's name, where the host holds it and the path does not
    base_url: str | None = None  # of a gateway of one's own

    @classmethod
    def of(cls, settings: ProxySettings) -> Address:
        """The address that the settings name; after an @ may stand the URL of a gateway of one's own."""
        model, _, base_url = settings.endpoint.strip().removeprefix("baseten:").partition("@")
        if not model.isalnum():
            raise BadRequest(
                "DIARIST_ENDPOINT is baseten: without a model id: it is shown beside the model, as in baseten:abcd1234"
            )
        return cls(model, settings.baseten_environment.strip("/"), settings.baseten_region, base_url or None)

    @property
    def base(self) -> str:
        """Scheme and host."""
        return self.base_url or InferenceClient.default_base_url(model_id=self.model, environment=self.region)

    @property
    def prefix(self) -> str:
        """What stands before /predict."""
        if self.region is not None:
            return ""
        if self.environment == "development" or self.environment.startswith("deployment/"):
            return f"/{self.environment}"
        return f"/environments/{self.environment}"

    @property
    def deployment(self) -> str | None:
        """The deployment's id, where one is named."""
        return self.environment.removeprefix("deployment/") if self.environment.startswith("deployment/") else None


class Platform:
    """The SDK's calls for one address, with errors of ours.

    `InferenceClient.api` is generated and may change: only this class uses it, and its version is pinned.
    """

    def __init__(self, address: Address, http: httpx.Client, where: str) -> None:
        self.where = where
        self._address = address
        self._api = InferenceClient(api_key="", model_id=address.model, http_client_override=http).api

    def submit(self, request: AsyncPredictRequest, call: Call) -> str:
        """Queue a request; its id."""
        address, api = self._address, self._api
        with _errors(self.where, call):
            if address.region is not None:
                return api.async_predict_regional(request=request).request_id
            if address.deployment is not None:
                return api.async_predict_deployment(deployment_id=address.deployment, request=request).request_id
            if address.environment == "development":
                return api.async_predict_development(request=request).request_id
            return api.async_predict(env_name=address.environment, request=request).request_id

    def wake(self) -> None:
        """Ask for a replica."""
        address, api = self._address, self._api
        with _errors(self.where, None):
            if address.region is not None:
                api.wake_regional()
            elif address.deployment is not None:
                api.wake_deployment(deployment_id=address.deployment)
            elif address.environment == "development":
                api.wake_development()
            else:
                api.wake(env_name=address.environment)

    def status(self, name: str, call: Call) -> AsyncRequestStatusResponse | None:
        """How a request stands; None where the platform has forgotten it, which it does after an hour."""
        try:
            with _errors(self.where, call):
                return self._api.get_async_request_status(request_id=name)
        except Absent:
            return None

    def cancel(self, name: str) -> None:
        """Take a request out of the queue; one that runs cannot be stopped (inference/async, "Cancel a request")."""
        try:
            with _errors(self.where, None):
                self._api.cancel_async_request(request_id=name)
        except DiaristError as error:
            logger.info("request %s on Baseten was not cancelled: %s", name, error)


class Absent(EndpointError):
    """What was asked for is not there."""


@contextmanager
def _errors(where: str, call: Call | None) -> Iterator[None]:
    try:
        yield
    except ResponseErrorResponse as error:
        raise _error(error.status_code, error.error_response.error, where, call) from None
    except ResponseError as error:
        words = None
        with suppress(ValueError, AttributeError):
            words = json.loads(error.body).get("error")
        raise _error(error.status_code, words, where, call) from None
    except httpx.HTTPError as error:
        raise EndpointUnavailable(f"{where} cannot be reached ({type(error).__name__})") from None
    except ValueError:  # from the SDK: another type of content, or another form of it
        raise EndpointError(f"{where} answered with something that is not Baseten's: check DIARIST_ENDPOINT") from None


def _error(status: int, words: object, where: str, call: Call | None) -> DiaristError:
    error = error_of(status, {"error": words}, where=where, call=call or Nobody())
    return Absent(str(error)) if status == _ABSENT else error
