"""`llmos providers`: the model servers that the gateway asks."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, items_of, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line
from llmos_lite.cli.remotes import read_secret

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the provider.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    providers = group(app, "providers", "The model servers that the gateway asks, for system admins.")
    command(providers, "list")(list_)
    command(providers, "set")(set_)
    command(providers, "remove")(remove)
    command(providers, "models")(models)


def list_(session: Session) -> None:
    """List the model servers, without their keys."""
    found = list(session.api.items("/providers"))
    columns = ["NAME", "KIND", "URL", "KEY", "MODELS", "FROM", "PROBLEM"]
    session.out.show(found, lambda: session.out.table(columns, map(row, found), "Only the default model is asked."))


def set_(
    session: Session,
    name: Name,
    *,
    kind: Annotated[str, typer.Option(help="openai, anthropic, azure, bedrock or vertex.")] = "openai",
    address: Annotated[str, typer.Option("--base-url", metavar="URL", help="Empty for the kind's usual one.")] = "",
    model: Annotated[list[str] | None, typer.Option(help="Name or pattern, as 'claude-*'; again for more.")] = None,
    variable: Annotated[str, typer.Option(metavar="NAME", help="Variable of the server that holds the key.")] = "",
    key_file: Annotated[str, typer.Option(metavar="FILE", help="The key, kept sealed; - reads standard input.")] = "",
    dialect: Annotated[list[str] | None, typer.Option(help="chat, responses or messages; again for more.")] = None,
    api_version: Annotated[str, typer.Option(help="Of Azure's deployments.")] = "",
    region: Annotated[str, typer.Option(help="Of Bedrock and Vertex.")] = "",
    project: Annotated[str, typer.Option(help="Of Vertex.")] = "",
) -> None:
    """Add or change a model server; it holds from the next request on."""
    body = {
        "kind": kind,
        "url": address,
        "models": model or [],
        "key": f"env:{variable}" if variable else read_secret(key_file),
        "dialects": dialect or [],
        "api_version": api_version,
        "region": region,
        "project": project,
    }
    done = session.api.call("PUT", url("providers", name), json_body=body)
    problem = f" {done['problem']}" if done.get("problem") else ""
    session.out.show(done, lambda: session.out.say(f"{name} is a provider.{problem}"))


def remove(session: Session, name: Name) -> None:
    """Take a model server away."""
    session.api.call("DELETE", url("providers", name))
    session.out.show({"removed": name}, lambda: session.out.say(f"{name} is no provider any more."))


def models(session: Session) -> None:
    """List the models that the gateway has."""
    found = items_of(session.api.get("/v1/models"), "data")
    rows = [[one.get("id"), one.get("owned_by")] for one in found]
    session.out.show(found, lambda: session.out.table(["MODEL", "PROVIDER"], rows, "No server lists any model."))


def row(provider: Json) -> list[object]:
    """Return how a provider is listed; the last cell says what is wrong with it."""
    names = provider.get("models")
    return [
        provider.get("name"),
        provider.get("kind"),
        provider.get("url"),
        provider.get("key"),
        ", ".join(map(str, names)) if isinstance(names, list) else "",
        provider.get("source"),
        one_line(provider.get("problem")) or (f"left alone for {left} s" if (left := provider.get("resting")) else ""),
    ]
