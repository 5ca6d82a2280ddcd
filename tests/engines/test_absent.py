"""Which refusals speak of an address; the bodies are those of the servers that are named."""

from __future__ import annotations

import pytest

from llmos_lite.engines.absent import lacks_address

ADDRESS = {
    "fastapi": (404, b'{"detail":"Not Found"}'),
    "go": (404, b"404 page not found"),
    "llama.cpp": (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
    "openai": (404, b'{"error":{"type":"invalid_request_error","param":null,"code":"unknown_url"}}'),
    "azure": (404, b'{"error":{"code":"404","message": "Resource not found"}}'),
    "method": (405, b'{"error":{"type":"invalid_request_error"}}'),
    "nothing": (404, b""),
}
NAMED = {
    "model": (404, b'{"error":{"type":"invalid_request_error","param":null,"code":"model_not_found"}}'),
    "conversation": (404, b'{"error":{"type":"invalid_request_error","param":null,"code":null}}'),
    "vllm": (404, b'{"error":{"message":"no model","type":"NotFoundError","param":"model","code":404}}'),
    "azure": (404, b'{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}'),
    "other": (400, b'{"detail":"Not Found"}'),
}


@pytest.mark.parametrize(("status", "body"), ADDRESS.values(), ids=ADDRESS)
def test_an_address_that_a_server_does_not_have(status: int, body: bytes) -> None:
    assert lacks_address(status, body)


@pytest.mark.parametrize(("status", "body"), NAMED.values(), ids=NAMED)
def test_something_that_a_request_names(status: int, body: bytes) -> None:
    assert not lacks_address(status, body)
