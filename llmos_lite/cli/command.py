"""How a command is made: a function of a `Session` and its own options, registered with the common ones added."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Concatenate, ParamSpec, TypeVar, cast

import typer

from llmos_lite.cli.client import Client, Where, connect
from llmos_lite.cli.output import Output

P = ParamSpec("P")
T = TypeVar("T", None, int)
COMMON = "Common options"

Data = Annotated[str, typer.Option("--data", metavar="DIR", help="Data folder (LLMOS_DATA).", rich_help_panel=COMMON)]
Url = Annotated[str, typer.Option("--url", help="Address of a server (LLMOS_URL).", rich_help_panel=COMMON)]
Key = Annotated[str, typer.Option("--key", help="Credential (LLMOS_KEY).", rich_help_panel=COMMON)]
User = Annotated[
    str, typer.Option("--user", metavar="ID", help="Act as this user (LLMOS_USER).", rich_help_panel=COMMON)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.", rich_help_panel=COMMON)]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with: the API, and where to write."""

    api: Client
    out: Output


def group(parent: typer.Typer, name: str, help_text: str) -> typer.Typer:
    """Add a group of commands, one for each noun."""
    made = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    parent.add_typer(made, name=name, help=help_text)
    return made


def command(
    app: typer.Typer, name: str
) -> Callable[[Callable[Concatenate[Session, P], T]], Callable[Concatenate[Session, P], T]]:
    """Register a command that speaks to the API and may return an exit code.

    `--data --url --key --user --json` are added to its options.
    """

    def register(function: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[Session, P], T]:
        @wraps(function)
        def run(*, data: str, url: str, key: str, user: str, as_json: bool, **options: object) -> T:
            with connect(Where(data=data, url=url, key=key, user=user), os.environ) as api:
                own, out = cast("Callable[..., T]", function), Output(as_json=as_json)
                if api.newcomer:
                    out.note(f"{api.user} is new here.")
                return own(Session(api, out), **options)

        _describe(run, function)
        app.command(name)(run)
        return function

    return register


def _describe(run: Callable[..., object], function: Callable[..., object]) -> None:
    """Give `run` the options of the function, and the common ones."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    common = [
        inspect.Parameter(name, keyword, default=default, annotation=kind)
        for name, kind, default in [
            ("data", Data, ""),
            ("url", Url, ""),
            ("key", Key, ""),
            ("user", User, ""),
            ("as_json", AsJson, False),
        ]
    ]
    parameters = [*(item.replace(kind=keyword) for item in own), *common]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how inspect is told
    run.__annotations__ = {item.name: item.annotation for item in parameters}
