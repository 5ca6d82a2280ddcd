"""The kinds of model servers that there are: how each is addressed, and how a key is shown to it.

* `openai`: whatever speaks OpenAI's API at a base URL: OpenAI, Ollama, vLLM, llama.cpp, OpenRouter and others.
* `anthropic`: Anthropic, and whatever speaks its Messages API.
* `azure`: Azure OpenAI: the `v1` API, or deployments when `api_version` is set.
* `bedrock`: models of Anthropic on Amazon Bedrock, signed with AWS Signature Version 4, or with a Bedrock API key.
* `vertex`: models of Anthropic on Google Vertex AI, with the key file of a service account, or an access token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import structs

from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_anthropic import VERSION
from llmos_lite.engines.llm_http import ModelServer, openai_url
from llmos_lite.engines.upstream import HttpUpstream, Passing, Upstream, Wire
from llmos_lite.errors import Invalid

Kind: TypeAlias = Literal["openai", "anthropic", "azure", "bedrock", "vertex"]

_USUAL: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
}
_WIRES: Mapping[str, frozenset[Wire]] = {
    "openai": frozenset({Wire.CHAT, Wire.RESPONSES}),
    "anthropic": frozenset({Wire.MESSAGES}),
    "azure": frozenset({Wire.CHAT, Wire.RESPONSES}),
    "bedrock": frozenset({Wire.MESSAGES}),
    "vertex": frozenset({Wire.MESSAGES}),
}
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A model server.

    Args:
        name: what people call it.
        kind: see the module.
        url: base URL; empty takes the usual one of the kind.
        key: its key; empty sends none. For `bedrock` `ID:SECRET` or `ID:SECRET:TOKEN` signs, anything else is a bearer
            token; for `vertex` the JSON of a service account's key file, or an access token.
        wires: what it speaks; empty takes what the kind does.
        headers: sent with every request.
        timeout: longest silence, in seconds.
        api_version: of Azure's deployments.
        region: of Bedrock and Vertex.
        project: of Vertex.
        named: what holds URL and key, for hints.
    """

    name: str
    kind: Kind = "openai"
    url: str = ""
    key: str = field(default="", repr=False)
    wires: frozenset[Wire] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    api_version: str = ""
    region: str = ""
    project: str = ""
    named: tuple[str, str] = ("LLMOS_LLM_URL", "LLMOS_LLM_KEY")

    @property
    def spoken(self) -> frozenset[Wire]:
        """Return what the server speaks."""
        return self.wires or _WIRES[self.kind]


def usual_url(kind: Kind) -> str:
    """Return the base URL that a kind has when nobody names one; empty for one that depends on the account."""
    return _USUAL.get(kind, "")


def open_server(spec: ServerSpec) -> Upstream:
    """Return a server; nothing is connected to yet.

    Raises:
        Invalid: `provider.invalid`, when something is missing; `settings.invalid`, for a URL that is none.
    """
    makers = {"azure": _azure, "bedrock": _bedrock, "vertex": _vertex}
    return makers.get(spec.kind, _plain)(spec)


def _plain(spec: ServerSpec) -> Upstream:
    url = (spec.url or _USUAL[spec.kind]).rstrip("/")
    if spec.kind == "anthropic":
        url += "" if url.endswith("/v1") else "/v1"
        own = {"anthropic-version": VERSION} | ({"x-api-key": spec.key} if spec.key else {})
    else:
        url = openai_url(url)
        own = {"authorization": f"Bearer {spec.key}"} if spec.key else {}
    return HttpUpstream(spec.name, _server(spec, url, own), spec.spoken)


def _server(spec: ServerSpec, url: str, headers: Mapping[str, str]) -> ModelServer:
    own = {**headers, **spec.headers}
    return ModelServer(url, headers=own, secret=spec.key, timeout=spec.timeout, named=spec.named)


def _azure(spec: ServerSpec) -> Upstream:
    url = _needed(spec, "url").rstrip("/")
    own = {"api-key": spec.key} if spec.key else {}
    if not spec.api_version:
        url += "" if url.endswith("/openai/v1") else "/openai/v1"
        return HttpUpstream(spec.name, _server(spec, url, own), spec.spoken)
    return Deployments(spec.name, _server(spec, url, own), frozenset({Wire.CHAT}), spec.api_version)


def _bedrock(spec: ServerSpec) -> Upstream:
    from llmos_lite.engines.upstream_bedrock import Bedrock, Signature  # noqa: PLC0415 - few need it

    region = _needed(spec, "region")
    url = spec.url or f"https://bedrock-runtime.{region}.amazonaws.com"
    parts = spec.key.split(":")
    if len(parts) in {2, 3}:
        return Bedrock(spec.name, _server(replace(spec, key=parts[1]), url, {}), Signature(region, *parts))
    return Bedrock(spec.name, _server(spec, url, {"authorization": f"Bearer {spec.key}"}))


def _vertex(spec: ServerSpec) -> Upstream:
    from llmos_lite.engines.upstream_vertex import Vertex, token_source  # noqa: PLC0415 - few need it

    region, project = _needed(spec, "region"), _needed(spec, "project")
    host = "aiplatform.googleapis.com" if region == "global" else f"{region}-aiplatform.googleapis.com"
    place = f"/v1/projects/{quote(project)}/locations/{quote(region)}/publishers/anthropic/models"
    server = _server(replace(spec, key=""), (spec.url or f"https://{host}").rstrip("/") + place, {})
    return Vertex(spec.name, server, token_source(spec.key))


def _needed(spec: ServerSpec, name: str) -> str:
    value: str = getattr(spec, name)
    if not value:
        raise Invalid(
            "provider.invalid",
            f"The provider {spec.name} is of the kind {spec.kind} and has no {name}.",
            hint="Add it.",
        )
    return value


class Deployments(HttpUpstream):
    """Azure's older API: the model is a deployment in the path, and the version of the API in the query.

    Args:
        name: what people call it.
        server: where it is, with its key.
        wires: what it speaks.
        version: of the API, as in `2024-10-21`.
    """

    def __init__(self, name: str, server: ModelServer, wires: frozenset[Wire], version: str) -> None:
        super().__init__(name, server, wires)
        self._version = version

    def send(self, passing: Passing) -> Awaitable[Reply]:
        """Pass a request on; see `Upstream`."""
        model = model_in(passing.body)
        path = f"/openai/deployments/{quote(model, safe='')}{passing.path.partition('?')[0]}"
        return super().send(structs.replace(passing, path=f"{path}?api-version={quote(self._version)}"))


def model_in(body: bytes) -> str:
    """Return the model that a body names; empty for none."""
    raw = fields_in(body).get("model", msgspec.Raw(b'""'))
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""


def fields_in(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the top of a body that the gateway wrote."""
    return _fields.decode(body)


def cloud_body(body: bytes, version: str) -> tuple[str, bool, bytes]:
    """Return model, whether a stream is asked for, and the body as the clouds that carry Anthropic's models take it.

    Args:
        body: of the Messages API.
        version: what the cloud calls its form of the API.
    """
    fields = fields_in(body)
    stream = bytes(fields.pop("stream", msgspec.Raw(b"false"))) == b"true"
    model = model_in(body)
    fields.pop("model", None)
    return model, stream, _encode({"anthropic_version": version} | fields)
