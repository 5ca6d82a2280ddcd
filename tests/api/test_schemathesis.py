"""The whole OpenAPI document, driven by Schemathesis as everybody: no 500, and no answer outside the schema."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from described import DOCUMENT
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.permissions import SERVICE, Role, Scope
from llmos_lite.settings import Settings

EXAMPLES, MORE_EXAMPLES = 2, 25
"""Examples of each operation; the bound of this test's time, and of `make soak`."""


class Instance:
    """An instance on an event loop of its own, called from any other loop: Schemathesis opens one for each request."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        settings = Settings(data=data, llm_provider="offline", limit_strangers=0)
        self._opened = open_services(settings, serve=False)
        services = self._wait(self._opened.__aenter__())
        self.app = create_app(services)
        made = self._wait(people(services, (data / "admin.key").read_text().strip()))
        self.people = {who: {"Host": "localhost"} | headers for who, headers in made.items()}
        self.headers = self.people["the admin key"]

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


async def people(services: Services, key: str) -> dict[str, dict[str, str]]:
    """Make somebody of each kind; return the headers that each sends."""
    accounts = services.accounts
    admin = await accounts.authenticate(key)
    await accounts.create_user(admin, "root", role=Role.SYSTEM_ADMIN)
    await accounts.create_team(admin, "sre")
    for user, role in (("chief", Role.TEAM_ADMIN), ("mate", Role.USER)):
        await accounts.ensure(user)
        await accounts.set_member(admin, "sre", user, role)
    await accounts.ensure("outsider")

    async def made(user: str, *scopes: Scope, owner: str = "") -> dict[str, str]:
        actor = await accounts.actor(owner or user)
        wanted = sorted(scopes or actor.scopes - {Scope.ACT_AS})
        secret, _ = await accounts.create_key(
            actor, "x", wanted, teams=["sre"] if Scope.ACT_AS in scopes else None, user_id=user if owner else ""
        )
        return {"Authorization": f"Bearer {secret}"}

    return {
        "the admin key": {"Authorization": f"Bearer {key}"},
        "named by the admin key": {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"},
        "a system admin": await made("root"),
        "an admin of a team": await made("chief"),
        "a member": await made("mate"),
        "an outsider": await made("outsider"),
        "a key for one thing": await made("chief", Scope.SKILLS_READ),
        "the cron of a team": await made("sre-cron", *(SERVICE - {Scope.ACT_AS}), owner="root"),
        "named by a front end": await made("root", Scope.ACT_AS, Scope.CHAT) | {"X-LLMOS-User": "mate"},
        "nobody": {},
    }


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
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
ELSEWHERE = {"/skills/import"}
"""These ask other servers, and say with 502 or 504 what came of it."""
TOO_LARGE = {"/backup"}
"""An archive of all for each example; tested elsewhere."""


@schemathesis.serializer("application/x-tar")
def as_bytes(_context: Any, value: Any) -> bytes:  # noqa: ANN401
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize(("path", "method"), [one for one in OPERATIONS if one[0] not in TOO_LARGE])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_500_and_no_answer_outside_the_schema_whoever_asks(
    api: Any,  # noqa: ANN401
    instance: Instance,
    path: str,
    method: str,
    mode: GenerationMode,
) -> None:
    drive(api, instance, path, method, mode)


@pytest.mark.soak
@pytest.mark.parametrize(("path", "method"), [one for one in OPERATIONS if one[0] not in TOO_LARGE])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_nor_after_many_more(
    api: Any,  # noqa: ANN401
    instance: Instance,
    path: str,
    method: str,
    mode: GenerationMode,
) -> None:
    drive(api, instance, path, method, mode, examples=MORE_EXAMPLES, derandomize=False)


def drive(  # noqa: PLR0917 - parameters of one test
    api: Any,  # noqa: ANN401
    instance: Instance,
    path: str,
    method: str,
    mode: GenerationMode,
    examples: int = EXAMPLES,
    *,
    derandomize: bool = True,
) -> None:
    """Send what Schemathesis makes up for an operation, as everybody; those with the fewest rights first."""

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        derandomize=derandomize,
        database=None,
    )
    def run(case: Any) -> None:  # noqa: ANN401
        for who, headers in reversed(instance.people.items()):
            response = case.call(headers=headers)
            passed_on = path in ELSEWHERE and response.status_code in {502, 504}
            try:
                case.validate_response(response, checks=CHECKS[1:] if passed_on else CHECKS, headers=headers)
            except BaseExceptionGroup as failed:
                failed.add_note(f"It was {who}.")
                raise

    try:
        run()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong
