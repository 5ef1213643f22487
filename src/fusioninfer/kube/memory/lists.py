"""Lists by pages: all pages of one list are of one version, which the continue token carries."""

from __future__ import annotations

import base64

import msgspec

from fusioninfer.kube import errors
from fusioninfer.kube.memory import refusals
from fusioninfer.kube.memory.kinds import Target
from fusioninfer.kube.memory.selectors import Selector
from fusioninfer.kube.memory.storage import Storage, Stored, View
from fusioninfer.kube.requests import Manifest


class Token(msgspec.Struct, frozen=True):
    """From where to go on: after which object of which version. Opaque to clients."""

    version: int
    namespace: str
    name: str

    @staticmethod
    def read(text: str) -> Token:
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Token)
        except (ValueError, msgspec.DecodeError) as error:
            raise refusals.bad_request(f"continue key is not valid: {error}") from error

    def written(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def page(storage: Storage, target: Target, selects: Selector, limit: int, continue_token: str, view: View) -> bytes:
    """The next `limit` objects of a collection (0: all), shown as `view`; raises errors.Gone for an old token."""
    token = Token.read(continue_token) if continue_token else Token(storage.version, "", "")
    matching = [live for live in _at(storage, target, token) if selects(live.labels)]
    left = [live for live in matching if (live.place.namespace, live.place.name) > (token.namespace, token.name)]
    shown = left[:limit] if limit else left
    metadata: Manifest = {"resourceVersion": str(token.version)}
    if len(shown) < len(left):
        last = shown[-1].place
        metadata["continue"] = Token(token.version, last.namespace, last.name).written()
    kind, api_version = target.kind.resource.kind, target.kind.resource.api_version
    if view is View.METADATA:
        kind, api_version = "PartialObjectMetadata", "meta.k8s.io/v1"
    return msgspec.json.encode(
        {
            "kind": f"{kind}List",
            "apiVersion": api_version,
            "metadata": metadata,
            "items": [msgspec.Raw(live.shown(view)) for live in shown],
        }
    )


def _at(storage: Storage, target: Target, token: Token) -> list[Stored]:
    try:
        return storage.collection(target.kind.resource, target.namespace, token.version)
    except errors.Gone as gone:
        raise refusals.expired(
            "The provided continue parameter is too old to display a consistent list result."
        ) from gone
