"""Skills come in from Git, archives, hosts and marketplaces, with a lock file, and follow what becomes of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest
from conftest import ALICE, BOB, SRE
from elsewhere import Elsewhere, Files, skill, states
from remote_server import git
from vendor_skills import library
from web_server import Site

from llmos_lite.core.skills import fetching
from llmos_lite.core.skills.importing import read_source
from llmos_lite.core.skills.lockfile import read_lock
from llmos_lite.core.skills.packing import pack, pack_zip
from llmos_lite.engines.git import File
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, TooLarge
from llmos_lite.volumes.git_volume import GitVolume, author_of

AUTHOR = author_of("alice")


# Git


async def test_a_repository_comes_in_byte_for_byte_as_one_commit(there: Elsewhere, own: GitVolume) -> None:
    commit = there.write("r", library() | {"README.md": File(b"# x"), "docs/guide.md": File(b"no skill")})
    done = await there.take(there.url("r"))
    assert {one.status for one in done} == {"created"}
    assert own.store.count() == 2
    for path, file in library().items():
        assert own.store.read(path) == file.data
        entry = own.store.entry(path)
        assert entry is not None
        assert entry.executable == file.executable
    locked = read_lock(own)
    assert locked.keys() == {one.skill_id for one in done}
    tea = locked["claude-keys"]
    assert (tea.url, tea.kind, tea.path, tea.commit) == (there.url("r"), "git", "skills/claude-keys/SKILL.md", commit)
    assert tea.tree_id == git(there.folder / "r", "rev-parse", "HEAD:skills/claude-keys")
    assert json.loads(own.store.read("skills-lock.json"))["version"] == 1
    again = await there.take(there.url("r"))
    assert {one.status for one in again} == {"unchanged"}
    assert own.store.count() == 2


async def test_a_folder_a_tag_a_commit_and_single_skills(there: Elsewhere, own: GitVolume) -> None:
    first = there.write("r", {"a/tea/SKILL.md": skill("tea"), "b/mate/SKILL.md": skill("mate")}, tag="v1")
    there.write("r", {"a/tea/SKILL.md": skill("tea", "two")})
    assert [one.skill_id for one in await there.take(f"{there.url('r')}//b")] == ["mate"]
    assert [one.skill_id for one in await there.take(f"{there.url('r')}@v1", "tea")] == ["tea"]
    assert own.read_skill("tea").endswith("# tea\n")
    assert read_lock(own)["tea"].commit == first
    await there.take(there.url("r"), "tea", replace=True)
    assert own.read_skill("tea").endswith("two")
    git(there.folder / "r", "config", "uploadpack.allowAnySHA1InWant", "true")
    await there.take(f"{there.url('r')}@{first}", "tea", replace=True)
    assert own.read_skill("tea").endswith("# tea\n")
    (missing,) = await there.take(there.url("r"), "nothing")
    assert (missing.status, missing.detail) == ("refused", "There is no skill of that name there.")
    for source in (f"{there.url('r')}//c", f"{there.url('r')}@nothing", there.url("nowhere")):
        with pytest.raises(LlmosError):
            await there.take(source)


async def test_a_look_writes_nothing(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/tea/SKILL.md": skill("tea")})
    assert [(one.skill_id, one.detail) for one in await there.take(there.url("r"), look=True)] == [
        ("tea", "Does tea. Use when asked.")
    ]
    assert own.list_skills() == []


async def test_copies_in_a_repository_come_once(there: Elsewhere) -> None:
    there.write(
        "r", {f"{where}/tea/SKILL.md": skill("tea") for where in ("skills", ".claude/skills", "plugins/x/skills")}
    )
    assert [(one.skill_id, one.status) for one in await there.take(there.url("r"))] == [("tea", "created")]


async def test_links_attributes_and_submodules_of_a_repository_are_not_obeyed(there: Elsewhere, own: GitVolume) -> None:
    raw = b"a\r\n$Format:%H$\r\n"
    attributes = File(b"* export-ignore\n*.txt export-subst text eol=lf\n")
    there.write("r", {"tea/SKILL.md": skill("tea"), "tea/x.txt": File(raw), "tea/.gitattributes": attributes})
    root = there.folder / "r"
    (root / "tea" / "stolen").symlink_to("/etc/passwd")
    (root / "evil").mkdir()
    (root / "evil" / "SKILL.md").symlink_to("/etc/passwd")
    git(root, "add", "-A")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},tea/module")
    git(root, "commit", "-q", "-m", "x")
    done = await there.take(there.url("r"))
    assert [one.skill_id for one in done] == ["tea"]
    assert {entry.path for entry in own.skill_files("tea")} == {
        "skills/tea/SKILL.md", "skills/tea/x.txt", "skills/tea/.gitattributes"
    }  # fmt: skip
    assert b"$Format" in own.store.read("skills/tea/x.txt")


async def test_a_repository_that_is_too_large_is_given_up(there: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    there.write("r", {"tea/SKILL.md": skill("tea"), "tea/x.bin": File(os.urandom(300_000))})
    monkeypatch.setattr(fetching, "MOST_REPOSITORY", 100_000)
    with pytest.raises(TooLarge):
        await there.take(there.url("r"))
    monkeypatch.setattr(fetching, "MOST_REPOSITORY", 1 << 20)
    monkeypatch.setattr(fetching, "MOST_SKILL_BYTES", 1000)
    (done,) = await there.take(there.url("r"))
    assert "larger than" in done.detail
    assert not list((there.folder.parent / "data" / "tmp").iterdir())


@pytest.mark.parametrize(
    "source",
    ["ext::sh -c touch% /tmp/x", "-x", "--upload-pack=touch /tmp/x", "file:///etc", "file:///etc/x.git", "ssh://-oProxyCommand=x/y.git",
     "https://127.0.0.1:1/x.git", "git@-oProxyCommand=x:y.git"],
)  # fmt: skip
async def test_hostile_addresses_start_nothing(there: Elsewhere, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = list[object]()
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: ran.append(given))
    with pytest.raises((LlmosError, AttributeError)):
        await there.take(source)
    assert not ran or "127.0.0.1" in source


async def test_only_who_may_write_there_imports(there: Elsewhere) -> None:
    there.write("r", {"tea/SKILL.md": skill("tea")})
    with pytest.raises(Forbidden):
        await there.imports.take(ALICE, read_source(there.url("r")), volume=SRE)
    (done,) = await there.imports.take(BOB, read_source(there.url("r")), volume=SRE)
    assert done.status == "created"


# Marketplaces


def market(*plugins: dict[str, object], **more: object) -> File:
    said = {"name": "m", "owner": {"name": "x"}, "plugins": list(plugins), **more}
    return File(json.dumps(said).encode())


async def test_a_marketplace_gives_the_skills_of_its_plugins(there: Elsewhere) -> None:
    there.write("other", {"p/skills/far/SKILL.md": skill("far"), "q/skills/near/SKILL.md": skill("near")})
    listed = market(
        {"name": "one", "source": "./one"},
        {"name": "two", "source": "./", "strict": False, "skills": ["./loose/b"]},
        {"name": "three", "source": "three"},
        {"name": "far", "source": {"source": "git-subdir", "url": there.url("other"), "path": "./p"}},
        {"name": "npm", "source": {"source": "npm", "package": "x"}},
        {"name": "out", "source": "./../../etc"},
        metadata={"pluginRoot": "./plugins"},
    )
    names = ("one/skills/a", "loose/b", "loose/c", "plugins/three/skills/d", "elsewhere/e")
    files = {f"{path}/SKILL.md": skill(path[-1]) for path in names}
    there.write("r", files | {".claude-plugin/marketplace.json": listed})
    done = {one.skill_id: one for one in await there.take(there.url("r"))}
    assert {key for key, one in done.items() if one.status == "created"} == {"a", "b", "d", "far"}
    assert "kind that is not fetched" in done["npm"].detail
    assert "leads out" in done["out"].detail
    assert [one.skill_id for one in await there.take(there.url("r"), "far")] == ["far"]


async def test_a_marketplace_by_its_address_gives_what_lies_elsewhere(there: Elsewhere, site: Site) -> None:
    there.write("other", {"skills/far/SKILL.md": skill("far")})
    listed = market(
        {"name": "far", "source": {"source": "url", "url": there.url("other")}}, {"name": "near", "source": "./near"}
    )
    site.pages["/x/marketplace.json"] = listed.data
    done = {one.skill_id: one for one in await there.take(site.url("/x/marketplace.json"))}
    assert done["far"].status == "created"
    assert "marketplace's repository" in done["near"].detail
    site.pages["/x/marketplace.json"] = b"[]"
    with pytest.raises(Invalid):
        await there.take(site.url("/x/marketplace.json"))


# The web


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
async def test_an_archive_is_fetched(there: Elsewhere, site: Site, own: GitVolume, form: str) -> None:
    files = {"tea/SKILL.md": skill("tea"), "tea/run": File(b"#!", executable=True), "README.md": File(b"x")}
    site.pages[f"/s.{form}"] = pack(files) if form == "tar.gz" else pack_zip(files)
    (done,) = await there.take(site.url(f"/s.{form}"))
    assert (done.skill_id, done.status) == ("tea", "created")
    assert read_lock(own)["tea"].kind == "archive"
    assert states(await there.follow()) == {"tea": "current"}
    site.pages[f"/s.{form}"] = b"no archive"
    assert states(await there.follow()) == {"tea": "failed"}


async def test_one_file_is_fetched(there: Elsewhere, site: Site) -> None:
    site.pages["/x/tea/SKILL.md"] = skill("tea").data
    site.pages["/mate.md"] = skill("mate").data
    assert [one.skill_id for one in await there.take(site.url("/x/tea/SKILL.md"))] == ["tea"]
    assert [one.skill_id for one in await there.take(site.url("/mate.md"))] == ["mate"]
    with pytest.raises(NotFound):
        await there.take(site.url("/none.md"))


INDEX = "/t/sre/.well-known/agent-skills/index.json"
SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"


def entry(name: str, data: bytes, url: str, kind: str = "skill-md") -> dict[str, str]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"name": name, "type": kind, "description": "x", "url": url, "digest": digest}


async def test_a_host_lists_its_skills_at_a_well_known_place(there: Elsewhere, site: Site, own: GitVolume) -> None:
    tea = skill("tea", key="argument-hint: '[x]'\n").data
    mate = pack({"SKILL.md": skill("mate"), "scripts/x": File(b"#!", executable=True)})
    entries = [
        entry("tea", tea, "tea/SKILL.md"),
        entry("mate", mate, "/files/mate.tar.gz", "archive"),
        entry("wrong", b"another", "tea/SKILL.md"),
        entry("missing", b"", "missing/SKILL.md"),
        entry("strange", b"", "x", "npm"),
        entry("Not An Id", b"", "x"),
        entry("inside", b"", "file:///etc/passwd"),
    ]
    site.pages[INDEX] = json.dumps({"$schema": SCHEMA, "skills": entries}).encode()
    site.pages |= {INDEX.replace("index.json", "tea/SKILL.md"): tea, "/files/mate.tar.gz": mate}
    done = {one.skill_id: one for one in await there.take(site.url("/t/sre"))}
    assert {key: one.status for key, one in done.items()} == {
        "tea": "created", "mate": "created", "wrong": "refused", "missing": "refused", "strange": "refused",
        "Not An Id": "refused", "inside": "refused",
    }  # fmt: skip
    assert "not what its index says" in done["wrong"].detail
    assert own.store.read("skills/tea/SKILL.md") == tea
    assert read_lock(own)["tea"].digest == entries[0]["digest"]
    assert (read_lock(own)["tea"].kind, read_lock(own)["tea"].url) == ("well-known", site.url(INDEX))
    assert states(await there.follow()) == {"tea": "current", "mate": "current"}


async def test_the_older_form_lists_files(there: Elsewhere, site: Site, own: GitVolume) -> None:
    listed = [{"name": "tea", "description": "x", "files": ["SKILL.md", "scripts/a b.sh"]},
              {"name": "evil", "description": "x", "files": ["SKILL.md", "../../x"]}]  # fmt: skip
    site.pages["/.well-known/skills/index.json"] = json.dumps({"skills": listed}).encode()
    for name in ("tea", "evil"):
        site.pages[f"/.well-known/skills/{name}/SKILL.md"] = skill(name).data
    site.pages["/.well-known/skills/tea/scripts/a%20b.sh"] = b"#!"
    done = {one.skill_id: one.status for one in await there.take(site.url("/some/where"))}
    assert done == {"tea": "created", "evil": "refused"}
    assert own.store.read("skills/tea/scripts/a b.sh") == b"#!"


@pytest.mark.parametrize(
    ("index", "code"),
    [
        (b"[]", "index.invalid"),
        (b'{"skills": {}}', "index.invalid"),
        (b"[" * 99_999, "index.invalid"),
        (b'{"$schema": "https://x/9", "skills": []}', "index.unknown_schema"),
        (json.dumps({"skills": [{"name": "x"}] * 100_000}).encode(), "index.too_many"),
        (bytes(5 << 20), "source.too_large"),
    ],
)
async def test_a_hostile_index_is_refused(there: Elsewhere, site: Site, index: bytes, code: str) -> None:
    site.pages["/.well-known/agent-skills/index.json"] = index
    with pytest.raises(LlmosError) as raised:
        await there.take(site.url())
    assert raised.value.code == code


async def test_a_host_with_nothing_is_said(there: Elsewhere, site: Site) -> None:
    with pytest.raises(NotFound) as raised:
        await there.take(site.url("/x"))
    assert raised.value.code == "source.no_skills"


async def test_a_large_index_wants_names(there: Elsewhere, site: Site) -> None:
    tea = skill("tea").data
    entries = [entry(f"s{number}", b"", "x") for number in range(600)] + [entry("tea", tea, "/tea.md")]
    site.pages["/.well-known/agent-skills/index.json"] = json.dumps({"$schema": SCHEMA, "skills": entries}).encode()
    site.pages["/tea.md"] = tea
    with pytest.raises(TooLarge):
        await there.take(site.url())
    assert [(one.skill_id, one.status) for one in await there.take(site.url(), "tea")] == [("tea", "created")]


async def test_all_files_of_an_import_share_one_time(
    there: Elsewhere, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while not done.wait(0.01):
                handler.wfile.write(b"x")

    entries = [entry(f"s{number}", b"", "/slow") for number in range(100)]
    site.pages[INDEX] = json.dumps({"$schema": SCHEMA, "skills": entries}).encode()
    site.pages["/slow"] = slow
    monkeypatch.setattr(fetching, "PATIENCE", 0.3)
    began = time.monotonic()
    found = await there.take(site.url("/t/sre"))
    done.set()
    assert {one.status for one in found} == {"refused"}
    assert time.monotonic() - began < 5
    assert site.asked.count("/slow") <= 2


# What becomes of them


async def test_what_is_new_there_is_taken_and_what_was_edited_here_is_not(there: Elsewhere, own: GitVolume) -> None:
    names = ("a", "b", "c", "d", "e")
    there.write("r", {f"{name}/SKILL.md": skill(name) for name in names} | {"a/x": File(b"1"), "a/y": File(b"\0")})
    await there.take(there.url("r"))
    assert states(await there.follow()) == dict.fromkeys(names, "current")
    new: Files = {"a/SKILL.md": skill("a", "new\n"), "a/x": None, "a/y": File(b"\0\1")}
    there.write("r", {**new, "b/SKILL.md": skill("b", "new\n"), "c/SKILL.md": None})
    own.write_skill("b", skill("b", "mine\n").data.decode())
    own.write_skill("d", skill("d", "mine\n").data.decode())
    own.delete_skill("e")
    count = own.store.count()
    looked = await there.follow(look=True)
    assert states(looked) == {"a": "available", "b": "edited", "c": "gone", "d": "current", "e": "removed"}
    assert "+new" in looked["a"].diff
    assert "deleted file" in looked["a"].diff or "/dev/null" in looked["a"].diff
    assert "# skills/a/y differs" in looked["a"].diff
    assert "-mine" in looked["b"].diff
    assert looked["d"].detail == "It was edited here."
    assert own.store.count() == count
    done = await there.follow()
    assert states(done) == {"a": "updated", "b": "edited", "c": "gone", "d": "current", "e": "removed"}
    assert own.store.count() == count + 1
    assert own.store.entry("skills/a/x") is None
    assert own.read_skill("b").endswith("mine\n")
    assert own.skill_entry("c") is not None
    assert states(await there.follow()) == {"a": "current", "b": "edited", "c": "gone", "d": "current"}
    assert states(await there.follow("b", force=True)) == {"b": "updated"}
    assert own.read_skill("b").endswith("new\n")
    with pytest.raises(NotFound) as raised:
        await there.follow("nothing")
    assert raised.value.code == "skill.not_imported"


async def test_the_same_edit_on_both_sides_is_no_edit(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/SKILL.md": skill("a")})
    await there.take(there.url("r"))
    there.write("r", {"a/SKILL.md": skill("a", "same\n")})
    own.write_skill("a", skill("a", "same\n").data.decode())
    assert states(await there.follow()) == {"a": "current"}


async def test_a_pin_holds_and_lets_go(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"a/SKILL.md": skill("a"), "b/SKILL.md": skill("b")}, tag="v1")
    await there.take(there.url("r"))
    assert (await there.imports.pin(ALICE, "a")).state == "pinned"
    there.write("r", {"a/SKILL.md": skill("a", "two\n"), "b/SKILL.md": skill("b", "two\n")}, tag="v2")
    there.write("r", {"a/SKILL.md": skill("a", "three\n")})
    assert states(await there.follow()) == {"a": "pinned", "b": "updated"}
    assert states(await there.follow("a", force=True)) == {"a": "pinned"}
    found = await there.imports.pin(ALICE, "a", at="v2")
    assert (found.state, found.ref) == ("updated", "v2")
    assert own.read_skill("a").endswith("two\n")
    assert read_lock(own)["a"].pinned
    assert states(await there.follow())["a"] == "pinned"
    await there.imports.unpin(ALICE, "a")
    assert (read_lock(own)["a"].ref, read_lock(own)["a"].pinned) == ("", False)
    assert states(await there.follow())["a"] == "updated"
    assert own.read_skill("a").endswith("three\n")
    with pytest.raises(Invalid):
        await there.imports.pin(ALICE, "a", at="-x")
    with pytest.raises(NotFound):
        await there.imports.pin(ALICE, "c")


async def test_a_source_that_fails_fails_alone(there: Elsewhere, site: Site) -> None:
    there.write("r", {"a/SKILL.md": skill("a")})
    site.pages["/b.md"] = skill("b").data
    await there.take(there.url("r"))
    await there.take(site.url("/b.md"))
    site.pages.clear()
    assert states(await there.follow()) == {"a": "current", "b": "gone"}


async def test_a_skill_under_a_derived_id_is_followed(there: Elsewhere, own: GitVolume) -> None:
    there.write("r", {"My Tool/SKILL.md": skill("x")})
    assert [one.skill_id for one in await there.take(there.url("r"))] == ["my-tool"]
    there.write("r", {"My Tool/SKILL.md": skill("x", "new\n")})
    assert states(await there.follow()) == {"my-tool": "updated"}
    assert own.store.read("skills/my-tool/SKILL.md") == skill("x", "new\n").data
