"""Who sets remotes, what may be meant, and that a secret is nowhere but where it belongs."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from remote_people import ADMIN, ALICE, CHIEF, MEMBER, SRE
from remote_server import GitHost, bare, git

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.permissions import PERSONAL, Actor, Role, Scope
from llmos_lite.core.remotes import dialing
from llmos_lite.core.remotes.service import MOST, RemoteView, Secret
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound, Unavailable
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, VolumeRef

TOKEN = "t0ken-that-nobody-sees"
URL = "https://127.0.0.1:1/x.git"


@pytest.fixture(autouse=True)
def team(services: Services) -> None:
    services.volumes.create(SRE)


async def add(
    services: Services, actor: Actor = CHIEF, *, secret: Secret | None = None, ref: VolumeRef = SRE,
    name: str = "origin", **values: str | bool,
) -> RemoteView:  # fmt: skip
    return await services.remotes.add(actor, ref, name, {"url": URL, "timing": "manual"} | values, secret)


def everywhere(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())


# Who


async def test_an_admin_of_the_volume_sets_remotes_and_members_see_how_they_stand(services: Services) -> None:
    made = await add(services, secret=Secret(username="bot", token=TOKEN))
    assert (made.row.credential, made.row.username, made.row.secret) == ("token", "bot", "")
    assert made.row.created_by == "chief"
    (seen,) = await services.remotes.listed(MEMBER, SRE)
    assert (seen.row.name, seen.row.url, seen.row.state) == ("origin", URL, "new")
    assert (seen.row.credential, seen.row.username, seen.row.secret, seen.row.public_key) == ("", "", "", "")
    assert TOKEN not in repr(made) + repr(Secret(token=TOKEN))


async def test_others_change_nothing(services: Services) -> None:
    await add(services)
    remotes = services.remotes
    with pytest.raises(Forbidden):
        await add(services, MEMBER, name="other")
    for call in (remotes.remove, remotes.sync):
        with pytest.raises(Forbidden):
            await call(MEMBER, SRE, "origin")
    with pytest.raises(Forbidden):
        await remotes.change(MEMBER, SRE, "origin", {"active": False})
    with pytest.raises(Forbidden):
        await add(services, ALICE, ref=SYSTEM)
    for actor in (ALICE, Actor("stranger")):
        with pytest.raises(NotFound):
            await remotes.listed(actor, SRE)
        with pytest.raises(NotFound):
            await remotes.sync(actor, SRE, "origin")
    with pytest.raises(NotFound):
        await remotes.listed(ADMIN, VolumeRef.user("nobody"))
    assert (await add(services, ADMIN, ref=SYSTEM)).row.volume == "system"
    assert (await add(services, ALICE, ref=ALICE.volume)).row.volume == "user:alice"


@pytest.mark.parametrize(("missing", "values"), [(Scope.GIT, {}), (Scope.TRACES_READ, {"traces": True})])
async def test_a_credential_needs_the_scope(services: Services, missing: Scope, values: Mapping[str, bool]) -> None:
    with pytest.raises(Forbidden) as caught:
        await add(services, Actor("chief", teams={"sre": Role.TEAM_ADMIN}, scopes=PERSONAL - {missing}), **values)
    assert caught.value.code == "scope.missing"


async def test_only_a_system_admin_trusts_a_remote_or_reads_the_servers_variables(services: Services) -> None:
    with pytest.raises(Forbidden):
        await add(services, trust=True)
    with pytest.raises(Forbidden):
        await add(services, secret=Secret(variable="LLMOS_REMOTE_X"))
    await add(services, ADMIN, trust=True)
    changed = await services.remotes.change(CHIEF, SRE, "origin", {"trust": True, "active": False})
    assert (changed.row.trust, changed.row.active) == (True, False)


# What may be meant


MEANINGLESS: list[tuple[dict[str, str | bool], str]] = [
    ({"url": "ext::sh -c id"}, "remote.invalid"),
    ({"url": "-x"}, "remote.invalid"),
    ({"url": "https://u:p@host/x"}, "remote.secret_in_url"),
    ({"url": "file:///etc"}, "remote.file"),
    ({"url": "https://no-such-host.invalid/x"}, "address.unknown"),
    ({"branch": "../x"}, "branch.invalid"),
    ({"branch": "-x"}, "branch.invalid"),
    ({"direction": "sideways"}, "remote.choice"),
    ({"timing": "sometimes"}, "remote.choice"),
    ({"timing": "schedule"}, "schedule.invalid"),
    ({"timing": "schedule", "cron": "x y z a b"}, "schedule.invalid"),
    ({"timing": "schedule", "cron": "0 0 30 2 *"}, "schedule.invalid"),
    ({"timing": "schedule", "cron": "* * * * * *"}, "schedule.invalid"),
    ({"traces": True, "direction": "both"}, "remote.traces"),
    ({"name": "Origin"}, "remote.invalid_id"),
    ({"name": "../x"}, "remote.invalid_id"),
    ({"name": "x" * 41}, "remote.invalid_id"),
]


async def test_what_cannot_be_meant(services: Services) -> None:
    for values, code in MEANINGLESS:
        with pytest.raises(LlmosError) as caught:
            await add(services, **values)  # type: ignore[arg-type]
        assert (values, caught.value.code) == (values, code)
    assert await services.remotes.listed(CHIEF, SRE) == []


async def test_the_data_folder_is_no_remote(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "other", llm_provider="offline", remote_folder=str(tmp_path))
    async with open_services(settings, serve=False) as services:
        services.volumes.create(SRE)
        for path in (f"{tmp_path}/other/volumes/users/bob/.git", f"{tmp_path}/x/../other/volumes/system/.git"):
            with pytest.raises(Invalid) as caught:
                await add(services, url=f"file://{path}")
            assert caught.value.code == "remote.file"


async def test_inner_addresses_are_refused_where_nobody_allowed_them(tmp_path: Path) -> None:
    inner = ["https://localhost/x", "https://169.254.169.254/x", "git@127.0.0.1:x", "https://[::1]/x"]
    async with open_services(Settings(data=tmp_path / "d", llm_provider="offline"), serve=False) as services:
        services.volumes.create(SRE)
        for url, code in [*((url, "address.private") for url in inner), ("http://example.org/x", "remote.unencrypted")]:
            with pytest.raises(Invalid) as caught:
                await add(services, url=url)
            assert caught.value.code == code


async def test_an_address_that_turns_inward_later_is_refused_then(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(services)
    closed = dialing.Reach(services.settings.data)
    monkeypatch.setattr(services.mirrors.dialer, "reach", closed)
    row = (await services.remotes.sync(CHIEF, SRE, "origin")).row
    assert row.state == "failed"
    assert "is not an address on the public internet" in row.problem


async def test_names_are_taken_once_and_there_are_only_so_many(services: Services) -> None:
    for number in range(MOST):
        await add(services, name=f"r{number}")
    for name, code in (("r0", "remote.exists"), ("more", "remote.too_many")):
        with pytest.raises(Conflict) as caught:
            await add(services, name=name)
        assert caught.value.code == code
    await services.remotes.remove(CHIEF, SRE, "r0")
    await add(services, name="more")
    with pytest.raises(NotFound):
        await services.remotes.get(CHIEF, SRE, "r0")


# Secrets


async def test_a_secret_is_sealed_and_in_no_row_log_or_answer(
    services: Services, host: GitHost, caplog: pytest.LogCaptureFixture
) -> None:
    there = bare(host.folder / "x.git")
    host.password = host.watch = TOKEN
    with caplog.at_level(logging.DEBUG):
        await add(services, url=host.url("x.git"), secret=Secret(token=TOKEN))
        assert (await services.remotes.sync(CHIEF, SRE, "origin")).row.state == "ok"
        host.password = "changed"
        view = await services.remotes.sync(CHIEF, SRE, "origin")
    assert (view.row.state, view.row.failures) == ("failed", 1)
    assert git(there, "rev-parse", "main")
    assert host.seen == []
    assert TOKEN not in caplog.text + repr(view) + view.row.problem
    (row,) = await services.remotes._rows.all()
    assert row.secret
    assert TOKEN not in str(row)
    assert TOKEN.encode() not in everywhere(services.settings.data)


async def test_a_credential_does_not_go_to_another_host(services: Services, host: GitHost) -> None:
    bare(host.folder / "x.git")
    bare(host.folder / "y.git")
    host.password = TOKEN
    await add(services, url=host.url("x.git"), secret=Secret(token=TOKEN))
    for url in ("https://127.0.0.1:2/x.git", f"https://127.0.0.1:{host.port}/x.git", "ssh://git@127.0.0.1/x"):
        with pytest.raises(Invalid) as caught:
            await services.remotes.change(CHIEF, SRE, "origin", {"url": url})
        assert caught.value.code == "remote.credential_needed"
    await services.remotes.change(CHIEF, SRE, "origin", {"url": host.url("y.git")})
    assert (await services.remotes.sync(CHIEF, SRE, "origin")).row.state == "ok"
    without = await services.remotes.change(CHIEF, SRE, "origin", {"url": URL}, without_secret=True)
    assert without.row.credential == ""


async def test_a_row_that_was_changed_behind_our_back_gives_nothing_away(services: Services, host: GitHost) -> None:
    """Whoever writes the database, and not the keys, cannot have a secret sent to a server of theirs."""
    await add(services, secret=Secret(token=TOKEN))
    (row,) = await services.remotes._rows.all()
    await services.remotes._rows.change(row.remote_id, url=host.url("evil.git"))
    view = await services.remotes.sync(CHIEF, SRE, "origin")
    assert view.row.problem == "A stored secret cannot be opened with the key of this folder."
    assert host.asked == []


def pem(key: object, form: serialization.PrivateFormat, password: bytes = b"") -> str:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, how).decode()  # type: ignore[attr-defined]


OPENSSH, PKCS8 = serialization.PrivateFormat.OpenSSH, serialization.PrivateFormat.PKCS8
SSH_URL = "git@127.0.0.1:x.git"


KEYS = [
    ("new", "ssh-ed25519 "),
    (pem(Ed25519PrivateKey.generate(), OPENSSH), "ssh-ed25519 "),
    (pem(rsa.generate_private_key(65537, 2048), PKCS8), "ssh-rsa "),
    (pem(ec.generate_private_key(ec.SECP256R1()), OPENSSH).replace("\n", "\r\n"), "ecdsa-sha2-nistp256 "),
]


async def test_a_key_for_ssh_shows_its_public_half(services: Services) -> None:
    for key, kind in KEYS:
        view = await add(services, url=SSH_URL, secret=Secret(ssh_key=key))
        assert view.row.public_key.startswith(kind)
        (row,) = await services.remotes._rows.all()
        opened = services.mirrors.dialer.peer(row).credential.key
        assert opened.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
        assert opened.encode() not in everywhere(services.settings.data)
        assert opened not in repr(services.mirrors.dialer.peer(row))
        await services.remotes.remove(CHIEF, SRE, "origin")


USELESS = [
    (SSH_URL, Secret(ssh_key="no key")),
    (SSH_URL, Secret(ssh_key="-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----")),
    (SSH_URL, Secret(ssh_key=pem(Ed25519PrivateKey.generate(), PKCS8, b"phrase"))),
    (SSH_URL, Secret(ssh_key=pem(X25519PrivateKey.generate(), PKCS8))),
    (SSH_URL, Secret(token=TOKEN)),
    (URL, Secret(ssh_key="new")),
    (URL, Secret()),
    (URL, Secret(username="only")),
    (URL, Secret(token=TOKEN, variable="LLMOS_REMOTE_X")),
    (URL, Secret(token="two\nlines")),
    (URL, Secret(token="x" * 20_001)),
    (URL, Secret(username="a\nb", token=TOKEN)),
    (URL, Secret(variable="LLMOS_LLM_KEY")),
    (URL, Secret(variable="PATH")),
]


async def test_credentials_that_are_none(services: Services) -> None:
    for url, secret in USELESS:
        with pytest.raises(Invalid) as caught:
            await add(services, ADMIN, url=url, secret=secret)
        assert caught.value.code in {"remote.credential", "remote.variable"}
        assert TOKEN not in caught.value.message


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
async def test_a_key_with_a_passphrase_is_refused(services: Services, tmp_path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(tmp_path / "key")]
    child = await asyncio.create_subprocess_exec(*words)
    assert await child.wait() == 0
    with pytest.raises(Invalid) as caught:
        await add(services, url=SSH_URL, secret=Secret(ssh_key=read(tmp_path / "key")))
    assert "without a passphrase" in caught.value.hint


def read(path: Path) -> str:
    return path.read_text()


async def test_a_variable_of_the_server_is_read_each_time(
    services: Services, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(host.folder / "x.git")
    host.password = TOKEN
    await add(services, ADMIN, url=host.url("x.git"), secret=Secret(variable="LLMOS_REMOTE_X"))
    row = (await services.remotes.sync(CHIEF, SRE, "origin")).row
    assert row.problem == "The variable LLMOS_REMOTE_X is not set where the server runs."
    monkeypatch.setenv("LLMOS_REMOTE_X", f"{TOKEN}\n")
    assert (await services.remotes.sync(CHIEF, SRE, "origin")).row.state == "ok"


async def test_a_variable_that_a_row_was_made_to_name_is_not_read(services: Services) -> None:
    await add(services, ADMIN, secret=Secret(variable="LLMOS_REMOTE_X"))
    (row,) = await services.remotes._rows.all()
    dialer, url = services.mirrors.dialer, RemoteUrl.parse(URL)
    sealed = dialer.seal(row.remote_id, url, "PATH")
    changed = await services.remotes._rows.change(row.remote_id, secret=sealed)
    assert changed is not None
    with pytest.raises(Unavailable):
        dialer.peer(changed)


# Changes


async def test_a_change_keeps_what_is_known_unless_the_other_side_is_another(services: Services, disk: Path) -> None:
    await add(services, url=f"file://{disk}")
    done = (await services.remotes.sync(CHIEF, SRE, "origin")).row
    kept = (await services.remotes.change(CHIEF, SRE, "origin", {"timing": "schedule", "cron": "0  * * * *"})).row
    assert (kept.remote_id, kept.cron) == (done.remote_id, "0 * * * *")
    stored = (await services.remotes.get(CHIEF, SRE, "origin")).row
    assert (stored.state, stored.head, stored.timing, stored.next_try) == ("ok", done.head, "schedule", kept.next_try)
    await services.remotes.change(CHIEF, SRE, "origin", {"branch": "other"})
    stored = (await services.remotes.get(CHIEF, SRE, "origin")).row
    assert (stored.state, stored.head, stored.timing, stored.branch) == ("new", "", "schedule", "other")
    assert stored.remote_id != done.remote_id
    await services.remotes.change(CHIEF, SRE, "origin", {"timing": "commit"})
    assert (await services.remotes.get(CHIEF, SRE, "origin")).row.cron == ""


async def test_remotes_are_there_after_a_restart(settings: Settings, tmp_path: Path) -> None:
    bare(tmp_path / "disk" / "x.git")
    fresh = Settings(data=tmp_path / "other", llm_provider="offline", remote_folder=settings.remote_folder)
    async with open_services(fresh, serve=False) as first:
        first.volumes.create(SRE)
        await add(first, url=f"file://{tmp_path}/disk/x.git")
    async with open_services(fresh, serve=False) as second:
        assert (await second.remotes.sync(CHIEF, SRE, "origin")).row.state == "ok"
