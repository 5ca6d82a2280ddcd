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
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import structs

from llmos_lite.engines.absent import LARGEST, ReadReply
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_anthropic import VERSION
from llmos_lite.engines.llm_http import ModelServer, openai_url
from llmos_lite.engines.upstream import HttpUpstream, Passing, Upstream, Wire
from llmos_lite.errors import Invalid, NotFound

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
_COMPLETION = "2024-09-01"
"""The version of Azure's API from which on there are `max_completion_tokens`."""
_GOOGLE: Mapping[str, str] = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
"""Hosts of what is no single region there."""
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
    return ModelServer(url, headers=own, secret=spec.key, timeout=spec.timeout, named=spec.named, name=spec.name)


def _azure(spec: ServerSpec) -> Upstream:
    url = _needed(spec, "url").rstrip("/")
    own = {"api-key": spec.key} if spec.key else {}
    if not spec.api_version:
        url += "" if url.endswith("/openai/v1") else "/openai/v1"
        return HttpUpstream(spec.name, _server(spec, url, own), spec.spoken, "max_completion_tokens")
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
    host = _GOOGLE.get(region, f"{region}-aiplatform.googleapis.com")
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
        super().__init__(name, server, wires, "max_completion_tokens" if version >= _COMPLETION else "max_tokens")
        self._version = version

    def send(self, passing: Passing) -> Awaitable[Reply]:
        """Pass a request on; see `Upstream`."""
        model = segment_of(model_in(passing.body))
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


class CloudAsk(NamedTuple):
    """A request to a cloud that carries Anthropic's models.

    Args:
        model: stands in the path there.
        stream: whether a stream is asked for.
        fields: of the body.
    """

    model: str
    stream: bool
    fields: dict[str, object]

    @property
    def body(self) -> bytes:
        """Return the body."""
        return _encode(self.fields)


def cloud_ask(body: bytes, version: str) -> CloudAsk:
    """Return a request as the clouds take it, which name the model in the path.

    Args:
        body: of the Messages API.
        version: what the cloud calls its form of the API.

    Raises:
        NotFound: `model.unknown`, for a name that would lead to another address.
    """
    fields, model = fields_in(body), segment_of(model_in(body))
    fields.pop("model", None)
    stream = bytes(fields.get("stream", b"false")) == b"true"
    return CloudAsk(model, stream, {"anthropic_version": version, **fields})


def segment_of(model: str) -> str:
    """Return the name of a model that becomes a part of a path.

    Raises:
        NotFound: `model.unknown`, for one that would lead to another address.
    """
    if model in {"", ".", ".."}:
        raise NotFound("model.unknown", f"No provider has a model {model!r}.", hint="GET /v1/models lists all.")
    return model


_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class _Google(msgspec.Struct):
    message: str


class _CloudError(msgspec.Struct):
    message: str = ""
    Message: str = ""
    error: _Google | None = None
    type: str = ""


_cloud_error = msgspec.json.Decoder(_CloudError | list[_CloudError])


async def in_messages(reply: Reply) -> Reply:
    """Return an answer of a cloud whose refusal, if it is one, is said as Anthropic's API says it.

    Amazon says `{"message": ...}`, Google `{"error": {"code": 429, "message": ...}}`, in a list where a stream was
    asked for; what Anthropic's API said itself passes as it is.
    """
    if reply.status < 400:  # noqa: PLR2004 - where refusals begin
        return reply
    said = await reply.read(LARGEST)
    try:
        found = _cloud_error.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ReadReply(reply, said)
    error = found if isinstance(found, _CloudError) else next(iter(found), _CloudError())
    message = (error.error.message if error.error else "") or error.message or error.Message
    if error.type or not message:
        return ReadReply(reply, said)
    return ReadReply(reply, cloud_error(_ERRORS.get(reply.status, "api_error"), message))


def cloud_error(kind: str, message: str) -> bytes:
    """Return an error as Anthropic's API says it."""
    return _encode({"type": "error", "error": {"type": kind, "message": message}})
