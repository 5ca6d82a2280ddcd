"""Signing in through a company's own provider: who that is here, and in which teams.

The way there and back is bound to the browser by a sealed cookie: state, nonce and the PKCE secret never leave it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Protocol

import msgspec

from llmos_lite.core.accounts.identities import SUBJECT_LENGTH, clean_email
from llmos_lite.core.accounts.keys import digest_of
from llmos_lite.core.accounts.permissions import Role
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Forbidden, Invalid, LlmosError, Unauthenticated
from llmos_lite.records.accounts import Account
from llmos_lite.volumes.access import check_id

PROVIDER = "oidc"
"""The name under which a provider's people are noted as identities."""
SECONDS = 10 * 60
"""How long somebody may take to sign in at the provider."""
ABOUT = "oidc sign-in"
_SAID_LENGTH = 200


class Provider(Protocol):
    """Asks a provider who somebody is; see `engines.oidc.OpenIdProvider`."""

    async def address(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent."""

    async def claims(self, code: str, redirect_uri: str, *, nonce: str, verifier: str) -> dict[str, object]:
        """Return what the provider says about whoever came back."""

    async def close(self) -> None:
        """Close all connections."""


class Seals(Protocol):
    """Seals a text, bound to what it is about."""

    def seal(self, text: str, about: str) -> str:
        """Return the text as nobody else reads it."""

    def open(self, sealed: str, about: str) -> str:
        """Return the text of a seal."""


class Newcomers(Protocol):
    """Finds people by how others know them, makes those that are new, and keeps their teams in step."""

    async def known_as(self, provider: str, subject: str) -> Account | None:
        """Return whoever another system knows by an id."""

    async def link(self, provider: str, subject: str, email: str) -> Account | None:
        """Note that another system knows whoever has this address by that id; None when nobody has it."""

    async def newcomer(self, provider: str, subject: str, like: str, *, name: str, email: str | None) -> Account:
        """Make somebody new, with an id like a name."""

    async def follow(
        self, user_id: str, teams: Mapping[str, Role], managed: Collection[str] | None, *, admin: bool | None
    ) -> Account:
        """Put somebody into teams, and out of those that are managed and not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the claims of a provider mean here.

    Args:
        issuer: the provider's address.
        redirect_uri: where browsers come back to.
        groups_claim: the claim that lists groups.
        teams: by group, a team and the role in it; `*` stands for every team that is called like a group.
        admin_group: whose members are system admins; empty leaves that to us.
        create_users: whether somebody unknown gets an account.
    """

    issuer: str
    redirect_uri: str
    groups_claim: str = "groups"
    teams: Mapping[str, tuple[str, Role]] = field(default_factory=dict)
    admin_group: str = ""
    create_users: bool = True


class _Way(msgspec.Struct):
    """What a browser carries to the provider and back."""

    state: str
    nonce: str
    verifier: str
    back: str
    until: int


class OidcSignIn:
    """Sends browsers to the provider and takes them back.

    Args:
        provider: the provider.
        people: who there is.
        seals: seal the cookie.
        rules: what claims mean.
        clock: milliseconds since the epoch.
    """

    def __init__(
        self, provider: Provider, people: Newcomers, seals: Seals, rules: Rules, clock: Callable[[], int] = now_ms
    ) -> None:
        self._provider, self._people, self._seals, self._rules, self._clock = provider, people, seals, rules, clock

    async def begin(self, back: str) -> tuple[str, str]:
        """Return where the browser goes, and the text of its cookie.

        Args:
            back: path of ours to end at; one that leads elsewhere becomes `/`.

        Raises:
            UpstreamFailed: as the provider.
        """
        way = _Way(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(48),
            local_path(back),
            self._clock() + SECONDS * 1000,
        )
        url = await self._provider.address(
            self._rules.redirect_uri, state=way.state, nonce=way.nonce, verifier=way.verifier
        )
        return url, self._seals.seal(msgspec.json.encode(way).decode(), ABOUT)

    async def finish(self, cookie: str, given: Mapping[str, str]) -> tuple[Account, str]:
        """Return who came back, and the path to end at.

        Args:
            cookie: what the browser carried.
            given: the query of the address that it came back to.

        Raises:
            Unauthenticated: `oidc.refused`.
            Forbidden: `oidc.unknown`, `user.inactive`.
            UpstreamFailed: as the provider.
        """
        way = self._way(cookie, given.get("state", ""))
        if given.get("iss", self._rules.issuer) != self._rules.issuer:  # RFC 9207: a mix-up with another provider
            raise _refused("Another provider answered.")
        if "error" in given:
            said = "".join(char for char in given["error"] if char.isprintable())[:_SAID_LENGTH]
            raise _refused(f"The provider said: {said}.")
        if not given.get("code"):
            raise _refused("The provider sent no code.")
        claims = await self._provider.claims(
            given["code"], self._rules.redirect_uri, nonce=way.nonce, verifier=way.verifier
        )
        account = await self._account(claims)
        teams, managed, admin = self._groups(claims)
        return await self._people.follow(account.user_id, teams, managed, admin=admin), way.back

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._provider.close()

    def _way(self, cookie: str, state: str) -> _Way:
        try:
            way = msgspec.json.decode(self._seals.open(cookie, ABOUT), type=_Way)
        except (LlmosError, msgspec.DecodeError):
            raise _refused("This browser did not begin to sign in here.") from None
        if not compare_digest(way.state.encode(), state.encode("utf-8", "surrogateescape")):
            raise _refused("This browser did not begin this sign-in.")
        if way.until <= self._clock():
            raise _refused("That took too long.")
        return way

    async def _account(self, claims: Mapping[str, object]) -> Account:
        subject = subject_of(self._rules.issuer, str(claims["sub"]))
        found = await self._people.known_as(PROVIDER, subject)
        if found is not None:
            return found
        email = _email(claims)
        linked = await self._people.link(PROVIDER, subject, email) if email else None
        if linked is not None:
            return linked
        if not self._rules.create_users:
            raise Forbidden(
                "oidc.unknown",
                "The provider knows you, and nobody has added you here.",
                hint="Ask a system admin for an account with your e-mail address.",
            )
        name = _text(claims, "name")
        like = _text(claims, "preferred_username") or email or name or "user"
        return await self._people.newcomer(PROVIDER, subject, like, name=name, email=email or None)

    def _groups(self, claims: Mapping[str, object]) -> tuple[dict[str, Role], Collection[str] | None, bool | None]:
        """Return the teams of whoever the claims are about, those that are managed by groups, and who is an admin."""
        said = claims.get(self._rules.groups_claim)
        groups = {group for group in said if isinstance(group, str)} if isinstance(said, list) else set()
        groups |= {said} if isinstance(said, str) else set()
        teams: dict[str, Role] = {}
        for group, (team, role) in self._rules.teams.items():
            if group in groups and teams.get(team) is not Role.TEAM_ADMIN:
                teams[team] = role
        if "*" in self._rules.teams:
            teams = {**dict.fromkeys((group for group in groups if _is_id(group)), Role.USER), **teams}
        teams.pop("*", None)
        managed = None if "*" in self._rules.teams else {team for team, _ in self._rules.teams.values()}
        return teams, managed, (self._rules.admin_group in groups if self._rules.admin_group else None)


def parse_teams(text: str) -> dict[str, tuple[str, Role]]:
    """Read `group=team, other group=team:team_admin, *`.

    Raises:
        Invalid: `settings.invalid`.
    """
    found: dict[str, tuple[str, Role]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        group, equals, place = part.rpartition("=")
        team, _, role = place.partition(":")
        if part == "*":
            found["*"] = ("*", Role.USER)
        elif equals and group.strip() and role in {"", Role.USER, Role.TEAM_ADMIN}:
            found[group.strip()] = (check_id(team.strip(), "team"), Role(role or Role.USER))
        else:
            raise Invalid(
                "settings.invalid",
                f"LLMOS_OIDC_TEAMS has {part[:80]!r}.",
                hint="Write group=team, group=team:team_admin.",
            )
    return found


def local_path(text: str) -> str:
    """Return a path of ours; `/` for anything that a browser could take for another place."""
    good = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if good and len(text) <= 2000 else "/"  # noqa: PLR2004 - longer than any page of ours


def subject_of(issuer: str, sub: str) -> str:
    """Return how a person is noted: the provider's address is part of it, since another one may use the same ids."""
    subject = f"{issuer}|{sub}"
    return subject if len(subject) <= SUBJECT_LENGTH and subject.isprintable() else digest_of(subject).hex()


def _email(claims: Mapping[str, object]) -> str:
    """Return the address that a provider vouches for, or nothing."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    try:
        return clean_email(email)
    except LlmosError:
        return ""


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value.strip()[:_SAID_LENGTH] if isinstance(value, str) else ""


def _is_id(group: str) -> bool:
    try:
        return bool(check_id(group, "team"))
    except LlmosError:
        return False


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated("oidc.refused", why, hint="Sign in again.")
