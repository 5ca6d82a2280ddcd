"""What can be set, in one place; `docs/settings.md` is tested against this file.

Nothing here reads the environment: `bootstrap` and `cli` do, and hand the mapping to `Settings.parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from llmos_lite.errors import Invalid


def _setting(env: str, doc: str, *, default: object) -> Any:  # noqa: ANN401 - dataclasses.field is typed as Any, too
    return field(default=default, metadata={"env": env, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one instance, with the defaults of a laptop."""

    data: Path = _setting(
        "LLMOS_DATA", "Folder that holds everything: volumes, journal, rows, keys.", default=Path("data")
    )
    host: str = _setting("LLMOS_HOST", "Address to listen on.", default="127.0.0.1")
    port: int = _setting("LLMOS_PORT", "Port to listen on.", default=8420)

    public_url: str = _setting(
        "LLMOS_PUBLIC_URL",
        "Address by which people reach this instance, as in `https://llmos.example.org`; empty takes host and port.",
        default="",
    )

    hosts: str = _setting(
        "LLMOS_HOSTS",
        "Further names under which it answers, comma-separated; `.example.org` for all below one, `*` for any.",
        default="",
    )
    cors: str = _setting(
        "LLMOS_CORS",
        "Origins whose pages may use the API with a key of their own, as in `https://app.example.org`.",
        default="",
    )

    public_catalog: bool = _setting(
        "LLMOS_PUBLIC_CATALOG",
        "Let everybody read the system's skills at `/.well-known/agent-skills`, without a key.",
        default=False,
    )

    key_days: int = _setting(
        "LLMOS_KEY_DAYS", "Days that an API key holds whose maker does not say; 0 is for ever.", default=365
    )
    key_url_days: int = _setting(
        "LLMOS_KEY_URL_DAYS", "The same for a token in a URL, which is written down in more places.", default=90
    )

    oidc_issuer: str = _setting(
        "LLMOS_OIDC_ISSUER",
        "Address of an OpenID provider to sign in through, exactly as it names itself; empty for none.",
        default="",
    )
    oidc_name: str = _setting("LLMOS_OIDC_NAME", "What the sign-in page calls it.", default="your organisation")
    oidc_client_id: str = _setting("LLMOS_OIDC_CLIENT_ID", "Id that the provider knows this instance by.", default="")
    oidc_client_secret: str = _setting("LLMOS_OIDC_CLIENT_SECRET", "The secret that goes with it.", default="")
    oidc_scopes: str = _setting("LLMOS_OIDC_SCOPES", "Scopes that are asked for.", default="openid profile email")
    oidc_groups_claim: str = _setting(
        "LLMOS_OIDC_GROUPS_CLAIM", "Claim that lists somebody's groups.", default="groups"
    )
    oidc_teams: str = _setting(
        "LLMOS_OIDC_TEAMS",
        "Teams by group, as in `engineering=sre, leads=sre:team_admin`; `*` takes groups that are called like a team.",
        default="",
    )
    oidc_admin_group: str = _setting(
        "LLMOS_OIDC_ADMIN_GROUP", "Group whose members are system admins; empty leaves that to us.", default=""
    )
    oidc_create_users: bool = _setting(
        "LLMOS_OIDC_CREATE_USERS",
        "Give somebody whom the provider knows and nobody has added an account.",
        default=True,
    )

    llm_url: str = _setting(
        "LLMOS_LLM_URL",
        "Base URL of the model's API, as in `http://127.0.0.1:9100/v1`; empty looks for Ollama.",
        default="",
    )
    llm_key: str = _setting("LLMOS_LLM_KEY", "Key for the model's API.", default="")
    llm_model: str = _setting(
        "LLMOS_LLM_MODEL", "Name of the model; empty takes the first one that the API lists.", default=""
    )
    llm_provider: str = _setting(
        "LLMOS_LLM_PROVIDER",
        "`auto`, `offline`, `openai`, `anthropic`, or the name of an entry point in `llmos_lite.models`.",
        default="auto",
    )
    providers: str = _setting(
        "LLMOS_PROVIDERS", "TOML file of further model servers and of names for their models.", default=""
    )
    llm_retries: int = _setting("LLMOS_LLM_RETRIES", "Further tries when a model server fails.", default=1)
    llm_timeout: float = _setting("LLMOS_LLM_TIMEOUT", "Longest silence of the model, in seconds.", default=120.0)
    embedder: str = _setting(
        "LLMOS_EMBEDDER",
        "What compares meanings beside words: `off`, `local`, `static`, the base URL of an API, the name of an entry "
        "point in `llmos_lite.embedders`, or `auto`: `local` after `make semantic`, else off.",
        default="auto",
    )
    embed_model: str = _setting(
        "LLMOS_EMBED_MODEL",
        "Name of the model at that URL; for `local` and `static` the folder of a BERT instead of the packaged MiniLM.",
        default="",
    )
    embed_key: str = _setting("LLMOS_EMBED_KEY", "Key for that URL.", default="")
    embed_budget_ms: float = _setting(
        "LLMOS_EMBED_BUDGET_MS",
        "Milliseconds that a chat waits for the meaning of its message; past it, skills are chosen by words.",
        default=30.0,
    )

    skill_examples: bool = _setting(
        "LLMOS_SKILL_EXAMPLES",
        "Let the model write example requests for each new text of a skill, once, in the background.",
        default=True,
    )
    max_skills: int = _setting("LLMOS_MAX_SKILLS", "Most skills put into one context.", default=3)
    skill_tokens: int = _setting("LLMOS_SKILL_TOKENS", "Token budget for the skills of one context.", default=4000)
    disclosure: str = _setting(
        "LLMOS_DISCLOSURE",
        "`auto` puts the best skills into the context and lists further ones by name, `bodies` lists none, `catalog` "
        "lists all.",
        default="auto",
    )
    tool_rounds: int = _setting(
        "LLMOS_TOOL_ROUNDS", "Requests to the model, for one message, that may call tools; 0 gives it none.", default=8
    )
    tool_seconds: float = _setting(
        "LLMOS_TOOL_SECONDS", "Seconds after which a message gets its answer without further tools.", default=120.0
    )
    tool_tokens: int = _setting(
        "LLMOS_TOOL_TOKENS", "Token budget for the skills that the model loads for one message.", default=16_000
    )
    tool_servers: str = _setting(
        "LLMOS_TOOL_SERVERS",
        "TOML file of MCP servers whose tools a chat may call, programs of this machine too.",
        default="",
    )
    max_body: int = _setting("LLMOS_MAX_BODY", "Largest request body, in bytes.", default=4 << 20)
    max_import: int = _setting("LLMOS_MAX_IMPORT", "Largest file sent to the importer, in bytes.", default=1 << 30)
    max_push: int = _setting("LLMOS_MAX_PUSH", "Largest push with git, in bytes.", default=256 << 20)

    allow_private_urls: bool = _setting(
        "LLMOS_ALLOW_PRIVATE_URLS",
        "Let people name addresses inside this server's own network, and `http://`, for remotes.",
        default=False,
    )
    remote_folder: str = _setting(
        "LLMOS_REMOTE_FOLDER", "Folder that `file://` remotes may lie in, as a mounted disk; empty is none.", default=""
    )

    fold_events: int = _setting(
        "LLMOS_FOLD_EVENTS", "Fold a volume's journal into Git at this many events ...", default=500
    )
    fold_seconds: float = _setting(
        "LLMOS_FOLD_SECONDS", "... or when its oldest event is this old, in seconds.", default=5.0
    )

    redact: str = _setting(
        "LLMOS_REDACT",
        "What is taken out of traces before they reach Git: `on` (all), `off`, or some of `secrets,personal`.",
        default="on",
    )
    retention_days: int = _setting(
        "LLMOS_RETENTION_DAYS", "Erase traces that are older than this many days; 0 keeps them.", default=0
    )
    archive_months: int = _setting(
        "LLMOS_ARCHIVE_MONTHS", "Archive traces of months that lie further back than this; 0 never does.", default=0
    )
    archive_url: str = _setting(
        "LLMOS_ARCHIVE_URL",
        "Where archives are kept, as in `s3://bucket/prefix`; empty takes the folder `archive` of the data folder.",
        default="",
    )

    min_pattern_count: int = _setting(
        "LLMOS_MIN_PATTERN_COUNT", "Conversations that make a pattern for a user.", default=3
    )
    min_team_pattern_count: int = _setting(
        "LLMOS_MIN_TEAM_PATTERN_COUNT", "Conversations that make one for a team.", default=5
    )
    min_success_rate: float = _setting(
        "LLMOS_MIN_SUCCESS_RATE", "Share of successes that a pattern needs.", default=0.7
    )
    experiments: bool = _setting("LLMOS_EXPERIMENTS", "`off` gives every conversation the treatment.", default=True)
    schedule_user: str = _setting(
        "LLMOS_SCHEDULE_USER", "Cron of the users' evolution; `off` stops it.", default="0 2 * * *"
    )
    schedule_team: str = _setting(
        "LLMOS_SCHEDULE_TEAM", "Cron of the teams' evolution; `off` stops it.", default="0 3 * * 0"
    )
    schedule_system: str = _setting(
        "LLMOS_SCHEDULE_SYSTEM", "Cron of the system's; `off` stops it.", default="0 4 1 * *"
    )

    limit_requests: int = _setting(
        "LLMOS_LIMIT_REQUESTS", "Requests a minute of each person and each key; 0 is no limit.", default=0
    )
    limit_streams: int = _setting(
        "LLMOS_LIMIT_STREAMS", "Chats at once of each person and each key; 0 is no limit.", default=0
    )
    limit_strangers: int = _setting(
        "LLMOS_LIMIT_STRANGERS",
        "Requests a minute from one address without a credential that holds; 0 is no limit.",
        default=600,
    )
    limit_user_tokens: int = _setting(
        "LLMOS_LIMIT_USER_TOKENS", "Tokens of models a month, for each person; 0 is no limit.", default=0
    )
    limit_user_money: float = _setting(
        "LLMOS_LIMIT_USER_MONEY",
        "Money a month, for each person, in the unit of the prices; 0 is no limit.",
        default=0.0,
    )
    limit_team_tokens: int = _setting(
        "LLMOS_LIMIT_TEAM_TOKENS", "Tokens a month, for the chats in each team's context; 0 is no limit.", default=0
    )
    limit_team_money: float = _setting(
        "LLMOS_LIMIT_TEAM_MONEY", "Money a month, for the chats in each team's context; 0 is no limit.", default=0.0
    )
    limit_answer: int = _setting(
        "LLMOS_LIMIT_ANSWER", "Most tokens of an answer that counts in a budget of tokens or money.", default=4096
    )
    prices: str = _setting(
        "LLMOS_PRICES",
        'Prices of models by the million tokens: a TOML file, or JSON as `{"gpt-4o*": {"input": 2.5, "output": 10}}`.',
        default="",
    )
    unknown_price: str = _setting(
        "LLMOS_UNKNOWN_PRICE",
        "`free` or `refuse`: what happens to a chat with a model that has no price.",
        default="free",
    )
    trusted_proxies: str = _setting(
        "LLMOS_TRUSTED_PROXIES",
        "Addresses or networks, comma-separated, of proxies whose `X-Forwarded-For` names the client.",
        default="",
    )

    signing: str = _setting(
        "LLMOS_SIGNING", "`ssh` signs commits with a key of the data folder, `gpg` with one of GnuPG.", default="ssh"
    )
    gpg_key: str = _setting("LLMOS_GPG_KEY", "Fingerprint of the secret key for `LLMOS_SIGNING=gpg`.", default="")

    create_users: bool = _setting(
        "LLMOS_CREATE_USERS",
        "Create a user whom the admin key, or a key with `act-as`, names for the first time.",
        default=True,
    )
    middleware: str = _setting(
        "LLMOS_MIDDLEWARE", "ASGI middleware as `package.module:Class`, comma-separated.", default=""
    )
    otlp_url: str = _setting(
        "LLMOS_OTLP_URL",
        "Address of an OpenTelemetry collector, as in `http://127.0.0.1:4318`, that gets a span of each request to a "
        "model; empty for none.",
        default="",
    )
    otlp_headers: str = _setting(
        "LLMOS_OTLP_HEADERS", "Headers for it, as in `authorization=Bearer KEY,x-team=sre`.", default=""
    )
    otlp_service: str = _setting("LLMOS_OTLP_SERVICE", "What this instance is called there.", default="llmos-lite")
    log_level: str = _setting("LLMOS_LOG_LEVEL", "`debug`, `info`, `warning` or `error`.", default="info")
    log_json: bool = _setting("LLMOS_LOG_JSON", "Log one JSON object a line instead of text.", default=False)

    @classmethod
    def parse(cls, env: Mapping[str, str], **given: object) -> Self:
        """Build settings from a mapping of environment variables; `given` (not None) wins.

        Raises:
            Invalid: `settings.invalid`, when a value cannot be read as its type.
        """
        values = {
            item.name: _read(item.metadata["env"], env[item.metadata["env"]], item.default)
            for item in fields(cls)
            if env.get(item.metadata["env"], "") != ""
        }
        return cls(**values | {key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]  # checked by _read

    def environment(self) -> dict[str, str]:
        """Return the settings as environment variables, for a worker process."""
        return {item.metadata["env"]: _write(getattr(self, item.name)) for item in fields(self)}


_KINDS: dict[type, str] = {bool: "on or off", int: "a whole number", float: "a number"}


def _read(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}[text.lower()]
        return type(default)(text)  # type: ignore[call-arg]  # str, int, float and Path are all made from text
    except (KeyError, ValueError):
        kind = _KINDS.get(type(default), "a path")
        raise Invalid("settings.invalid", f"{name}={text!r} is not {kind}.", hint=f"Set {name} to {kind}.") from None


def _write(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
