"""`llmos serve`: the server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from llmos_lite import __version__, heap
from llmos_lite.engines.folder import held, holder
from llmos_lite.errors import Invalid, Unavailable
from llmos_lite.observability import configure_logging
from llmos_lite.settings import Settings

if TYPE_CHECKING:
    from llmos_lite.api.app import App
    from llmos_lite.bootstrap import Services

log = logging.getLogger("llmos")

GRACE = 15
"""Seconds that requests may take to finish when the server stops."""


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Data folder (LLMOS_DATA).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (LLMOS_HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (LLMOS_PORT).")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fill a fresh data folder with an example team.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """Start the server; every LLMOS_ setting of the environment counts."""
    settings = Settings.parse(os.environ, data=data, host=host, port=port)
    settings = replace(settings, data=settings.data.absolute())
    if (by := holder(settings.data)) is not None:
        raise held(settings.data, by)
    heap.begin_loading()
    with _listen(settings.host, settings.port) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, listener, demo=demo))


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is touched."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except socket.gaierror as error:
        listener.close()
        raise Invalid("serve.host", f"There is no address {host!r} here ({error.strerror}).") from error
    except OverflowError as error:
        listener.close()
        raise Invalid(
            "serve.port", f"{port} is no port.", hint="Set LLMOS_PORT or --port to a number from 0 to 65535."
        ) from error
    except OSError as error:
        listener.close()
        raise Unavailable(
            "serve.port", f"Cannot listen on {host}:{port} ({error.strerror}).", hint="Choose another --port or --host."
        ) from error
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not there on every Python
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(settings: Settings, listener: socket.socket, *, demo: bool) -> None:
    from llmos_lite.api.app import create_app  # noqa: PLC0415 - loads the whole platform
    from llmos_lite.bootstrap import open_services, warnings  # noqa: PLC0415 - as above

    configure_logging(settings.log_level, as_json=settings.log_json)
    for line in warnings(settings, os.environ):
        log.warning("%s", line)
    if demo:
        await _fill(settings)
    async with open_services(settings, serve=True) as services:
        _greet(services)
        await _run(create_app(services), listener)


async def _fill(settings: Settings) -> None:
    """Put the example team into a fresh data folder before it is served."""
    from llmos_lite.bootstrap import open_services  # noqa: PLC0415 - loads the whole platform
    from llmos_lite.core.demo import fill  # noqa: PLC0415 - only for a demonstration

    async with open_services(settings, serve=True) as services:
        await services.start()
        try:
            if await fill(services):
                sys.stdout.write("An example team is in the data folder; its people are called demo-...\n")
        finally:
            await services.stop()


def _greet(services: Services) -> None:
    """Say where the server is, and how to get in."""
    from llmos_lite.bootstrap import who_answers  # noqa: PLC0415 - loads the whole platform

    settings = services.settings
    sys.stdout.write(
        f"llmos-lite {__version__} on {services.url}, data in {settings.data}\n"
        f"Sign in:   {services.sign_in_url()}\n"
        f"Admin key: {settings.data / 'admin.key'}\n"
        f"Model:     {who_answers(settings)}\n"
        f"Search:    {services.skills.manager.compares}\n"
    )
    sys.stdout.flush()


async def _run(app: App, listener: socket.socket) -> None:
    """Answer requests until a signal comes, then finish those that are running."""
    import uvicorn  # noqa: PLC0415 - slow to load

    from llmos_lite.api.patience import Ending, PatientProtocol  # noqa: PLC0415 - as above

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        backlog=2048,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _quiet)  # uvicorn raises the signal again when it is done; it has been heard by then
    settling = asyncio.create_task(_settle(app))
    await Ending(config, app.end_streams).serve(sockets=[listener])
    settling.cancel()


async def _settle(app: App) -> None:
    """Change from loading to serving, then give back by and by what memory nobody uses."""
    await app.loaded.wait()
    heap.end_loading()
    while True:
        await asyncio.sleep(heap.PERIOD)
        await asyncio.to_thread(heap.give_back)


def _quiet(number: int, frame: FrameType | None) -> None:
    """Do nothing more about a signal."""
