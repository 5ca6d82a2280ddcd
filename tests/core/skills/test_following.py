"""What was imported is followed to where it came from, and nothing of a credential stays where people read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from conftest import ALICE, BOB, SRE
from elsewhere import Elsewhere, NoRows, skill, states
from web_server import Site

from llmos_lite.core.skills.importing import read_source
from llmos_lite.core.skills.lockfile import read_lock
from llmos_lite.engines.git_peer import Credential
from llmos_lite.errors import Conflict, LlmosError, NotFound
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.skill_paths import LOCK

AUTHOR = author_of("alice")
TOKEN = f"llmos_0a1b2c3d_{hashlib.sha256(b'x').hexdigest()}"
SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"


def lists(site: Site, root: str, name: str, more: str = "") -> None:
    """Let a site list one skill below a root."""
    data = skill(name, more).data
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    entry = {"name": name, "type": "skill-md", "description": "x", "url": f"{name}/SKILL.md", "digest": digest}
    lead = f"{root}/.well-known/agent-skills"
    site.pages[f"{lead}/index.json"] = json.dumps({"$schema": SCHEMA, "skills": [entry]}).encode()
    site.pages[f"{lead}/{name}/SKILL.md"] = data


# Credentials


async def test_a_token_in_an_address_is_in_no_file_and_an_update_still_works(
    there: Elsewhere, site: Site, own: GitVolume
) -> None:
    lists(site, f"/c/{TOKEN}", "tea")
    (done,) = await there.take(site.url(f"/c/{TOKEN}"))
    assert done.status == "created"
    text = own.store.read(LOCK).decode()
    assert TOKEN not in text
    assert "/c/***/" in json.loads(text)["skills"]["tea"]["sourceUrl"]
    assert "***" in json.loads(text)["skills"]["tea"]["source"]
    (again,) = await there.take(site.url(f"/c/{TOKEN}"))
    assert again.status == "unchanged"
    assert own.store.read(LOCK).decode() == text
    lists(site, f"/c/{TOKEN}", "tea", "new\n")
    found = await there.follow()
    assert states(found) == {"tea": "updated"}
    assert TOKEN not in str(found)
    assert TOKEN not in own.store.read(LOCK).decode()


async def test_a_token_in_a_query_is_sealed_for_its_volume_and_address(
    there: Elsewhere, site: Site, own: GitVolume, team: GitVolume
) -> None:
    site.pages["/tea.md"] = skill("tea").data
    await there.take(site.url("/tea.md?private_token=hush-hush"))
    data = own.store.read(LOCK)
    assert b"hush" not in data
    assert states(await there.follow()) == {"tea": "current"}
    assert site.asked[-1] == "/tea.md?private_token=hush-hush"
    team.store.commit({LOCK: data}, "x", AUTHOR)  # copied to others, it opens nothing
    (found,) = await there.imports.follow(BOB, volume=SRE)
    assert (found.state, "cannot be opened" in found.detail) == ("failed", True)
    moved = json.loads(data)
    moved["skills"]["tea"]["sourceUrl"] = site.url("/thief.md?private_token=***")
    own.store.commit({LOCK: json.dumps(moved).encode()}, "x", AUTHOR)
    assert states(await there.follow()) == {"tea": "failed"}
    assert not [path for path in site.asked if "thief" in path]


async def test_errors_show_no_token(there: Elsewhere, site: Site) -> None:
    for path in (f"/c/{TOKEN}", f"/c/{TOKEN}/x.zip", "/x.md?key=hush-hush", f"/{TOKEN}.git"):
        with pytest.raises(LlmosError) as raised:
            await there.take(site.url(path))
        assert TOKEN not in raised.value.message
        assert "hush" not in raised.value.message
    for source in (f"https://me:{TOKEN}@127.0.0.1/x.zip", f"-{TOKEN}"):
        with pytest.raises(LlmosError) as raised:
            await there.take(source)
        assert TOKEN not in raised.value.message


async def test_a_token_that_was_revoked_is_no_skill_that_is_gone(there: Elsewhere, site: Site) -> None:
    lists(site, f"/c/{TOKEN}", "tea")
    await there.take(site.url(f"/c/{TOKEN}"))
    place = f"/c/{TOKEN}/.well-known/agent-skills/index.json"
    for status, state in ((401, "failed"), (403, "failed"), (503, "failed"), (404, "gone")):
        site.pages[place] = (status, {}, b"")
        found = await there.follow()
        assert states(found) == {"tea": state}
        assert ("revoked" in found["tea"].detail) == (status in {401, 403})


class Rows(NoRows):
    """One remote of a team."""

    def __init__(self, row: RemoteRecord) -> None:
        self.row = row

    async def all(self) -> list[RemoteRecord]:
        return [self.row]


async def test_a_remotes_credential_opens_its_own_repository_only(there: Elsewhere) -> None:
    dialer = there.imports._dialer
    url = dialer.url("https://git.example.org/team/skills.git")
    row = RemoteRecord(
        remote_id="r", volume=str(SRE), name="up", url=url.text, credential="token", username="x",
        secret=dialer.seal("r", url, "hush"), created_by="carol", created=0,
    )  # fmt: skip
    there.imports._remotes = Rows(row)

    async def opens(who: str, source: str) -> Credential | None:
        return await there.imports._credential(replace(BOB, user_id=who), SRE, read_source(source))

    same = ("https://git.example.org/team/skills.git", "https://GIT.example.org:443/team/skills.git//a@v1")
    for source in same:
        assert await opens("bob", source) == Credential("x", "hush")
    assert await opens("bob", "https://git.example.org/secret/other.git") is None
    assert await opens("carol", "https://git.example.org/secret/other.git") == Credential("x", "hush")
    assert await opens("carol", "https://git.example.com/team/skills.git") is None
    assert await there.imports._credential(ALICE, SRE, read_source(same[0])) is None


# Where it is looked for


async def test_an_import_below_a_folder_is_followed_there(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/tea/SKILL.md": skill("tea"), "b/tea/SKILL.md": skill("tea")})
    await there.take(f"{there.url('r')}//b")
    assert (read_lock(own)["tea"].folder, read_lock(own)["tea"].path) == ("b", "b/tea/SKILL.md")
    assert states(await there.follow()) == {"tea": "current"}
    there.write("r", {"b/tea/SKILL.md": skill("tea", "new\n")})
    assert states(await there.follow()) == {"tea": "updated"}
    assert read_lock(own)["tea"].folder == "b"


async def test_a_pin_at_nothing_writes_nothing(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/SKILL.md": skill("a")}, tag="v1")
    await there.take(there.url("r"))
    count = own.store.count()
    with pytest.raises(LlmosError):
        await there.imports.pin(ALICE, "a", at="nope")
    there.write("r", {"a/SKILL.md": None, "b/SKILL.md": skill("b")}, tag="without")
    with pytest.raises(NotFound):
        await there.imports.pin(ALICE, "a", at="without")
    own.write_skill("a", skill("a", "mine\n").data.decode())
    there.write("r", {"a/SKILL.md": skill("a", "theirs\n")}, tag="v2")
    assert (await there.imports.pin(ALICE, "a", at="v2")).state == "edited"
    assert own.store.count() == count + 1
    assert not read_lock(own)["a"].pinned


async def test_after_a_pin_it_is_followed_as_before(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/SKILL.md": skill("a")}, tag="v1")
    await there.take(there.url("r"))
    assert (await there.imports.pin(ALICE, "a", at="v1")).state == "pinned"
    assert (read_lock(own)["a"].ref, read_lock(own)["a"].tracked) == ("v1", "")
    await there.imports.pin(ALICE, "a")
    there.write("r", {"a/SKILL.md": skill("a", "two\n")})
    await there.imports.unpin(ALICE, "a")
    assert read_lock(own)["a"].ref == ""
    assert states(await there.follow(look=True)) == {"a": "available"}


BAD: list[dict[str, object]] = [
    {"sourceUrl": "https://[x", "sourceType": kind} for kind in ("git", "well-known", "archive", "file", "marketplace")
]
BAD += [{"sourceUrl": "x", "sourceType": "other"}, {"sourceUrl": "\ud800", "sourceType": "git"}]
BAD += [{"sourceUrl": "https://x.invalid/a.git", "sourceType": "git", "ref": "-x"}, {"sourceType": "github"}]
BAD += [{"sourceUrl": "https://x:99999/", "sourceType": "well-known", "sealedUrl": "x"}]


@pytest.mark.parametrize("bad", BAD)
async def test_one_bad_entry_fails_alone(there: Elsewhere, own: GitVolume, bad: dict[str, object]) -> None:
    there.write("r", {"a/SKILL.md": skill("a")})
    await there.take(there.url("r"))
    said = json.loads(own.store.read(LOCK))
    said["skills"]["evil"] = {"source": "x", **bad}
    own.store.commit({LOCK: json.dumps(said).encode()}, "x", AUTHOR)
    own.write_skill("evil", skill("evil").data.decode())
    there.write("r", {"a/SKILL.md": skill("a", "new\n")})
    found = await there.follow()
    assert found["a"].state == "updated"
    assert found.get("evil") is None or found["evil"].state == "failed"
    assert json.loads(own.store.read(LOCK))["skills"]["evil"] == said["skills"]["evil"]


async def test_a_lock_file_that_is_broken_is_told_and_kept(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/SKILL.md": skill("a")})
    own.store.commit({LOCK: b"<<<<<<< ours"}, "x", AUTHOR)
    for does in (there.take(there.url("r")), there.follow(), there.imports.pin(ALICE, "a")):
        with pytest.raises(Conflict) as raised:
            await does
        assert raised.value.code == "lock.broken"
    assert own.store.read(LOCK) == b"<<<<<<< ours"
    assert own.skill_entry("a") is None


async def test_the_same_from_elsewhere_is_told_and_wants_force(there: Elsewhere, own: GitVolume) -> None:
    for name in ("r", "s"):
        there.write(name, {"a/SKILL.md": skill("a")})
    await there.take(there.url("r"))
    await there.imports.pin(ALICE, "a")
    (same,) = await there.take(there.url("r"))
    assert (same.status, same.detail) == ("unchanged", "It stays pinned; --force lets go.")
    (done,) = await there.take(there.url("s"))
    assert done.status == "refused"
    assert "followed from" in done.detail
    assert (read_lock(own)["a"].url, read_lock(own)["a"].pinned) == (there.url("r"), True)
    (forced,) = await there.take(there.url("s"), replace=True)
    assert (forced.status, "before" in forced.detail) == ("unchanged", True)
    assert (read_lock(own)["a"].url, read_lock(own)["a"].pinned) == (there.url("s"), False)
