"""The whole OpenAPI document, driven by Schemathesis: no 500, and no answer outside the schema."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from llmos_lite.api.app import create_app
from llmos_lite.api.routes import build
from llmos_lite.bootstrap import open_services
from llmos_lite.settings import Settings

EXAMPLES, MORE_EXAMPLES = 3, 25
"""Examples of each operation; the bound of this test's time, and of `make soak`."""


class Instance:
    """An instance on an event loop of its own, called from any other loop: Schemathesis opens one for each request."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._opened = open_services(Settings(data=data, llm_provider="offline"), serve=False)
        self.app = create_app(self._wait(self._opened.__aenter__()))
        key = (data / "admin.key").read_text().strip()
        self.headers = {"Authorization": f"Bearer {key}", "Host": "localhost"}

    def close(self) -> None:
        self._wait(self.app.stop())
        self._wait(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        """Carry one request over to the instance's loop; each client's start and end are not the instance's."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        caller = asyncio.get_running_loop()

        async def received() -> Any:  # noqa: ANN401
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(receive(), caller))

        async def sent(message: Any) -> None:  # noqa: ANN401
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(send(message), caller))

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.app(scope, received, sent), self._loop))

    def _wait(self, work: Any) -> Any:  # noqa: ANN401
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    logging.getLogger("llmos").setLevel(logging.ERROR)
    instance = Instance(tmp_path_factory.mktemp("schemathesis") / "data")
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def api(instance: Instance) -> Any:  # noqa: ANN401
    return schemathesis.openapi.from_asgi("/openapi.json", instance, headers=instance.headers)


CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)
DOCUMENT = build().openapi()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
TOO_LARGE = {"/backup"}
"""An archive of all for each example; tested elsewhere."""


@schemathesis.serializer("application/x-tar")
def as_bytes(_context: Any, value: Any) -> bytes:  # noqa: ANN401
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize(("path", "method"), [one for one in OPERATIONS if one[0] not in TOO_LARGE])
@pytest.mark.parametrize(
    ("user", "mode", "examples"),
    [
        ("", GenerationMode.POSITIVE, EXAMPLES),
        ("alice", GenerationMode.POSITIVE, EXAMPLES),
        ("", GenerationMode.NEGATIVE, EXAMPLES),
        *(
            pytest.param(user, mode, MORE_EXAMPLES, marks=pytest.mark.soak)
            for user in ("", "alice")
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        ),
    ],
)
def test_no_500_and_no_answer_outside_the_schema(  # noqa: PLR0917 - parameters of one test
    api: Any,  # noqa: ANN401
    instance: Instance,
    path: str,
    method: str,
    user: str,
    mode: GenerationMode,
    examples: int,
) -> None:
    headers = instance.headers | ({"X-LLMOS-User": user} if user else {})

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def run(case: Any) -> None:  # noqa: ANN401
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS, headers=headers)

    try:
        run()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong
