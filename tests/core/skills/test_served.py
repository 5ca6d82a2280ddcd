"""Skills as other tools get them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills import frontmatter, served
from llmos_lite.core.skills.frontmatter import BrokenFrontMatterError
from llmos_lite.core.skills.served import ServedSkill, strict_block
from llmos_lite.core.skills.uris import SkillUri, skill_uri
from llmos_lite.engines.git_objects import Author
from llmos_lite.errors import Invalid, NotFound
from llmos_lite.volumes.access import PLATFORM, VolumeRef

ALICE, BOB = Actor("alice"), Actor("bob")
AUTHOR = Author("alice", "alice@localhost")
WHOLE = b"---\nname: tidy\ndescription: Tidy up. Use when it is untidy.\nmetadata:\n  version: 1.5\n---\n# Tidy\n"
VENDOR = b"---\nname: tidy\ndescription: 'Tidy: up'\nmodel: fast\nallowed-tools: [Read]\nhooks: {a: 1, b: ~}\n---\nDo\n"


def put(services: Services, files: dict[str, bytes], user: str = "alice") -> None:
    volume = services.volumes.open(PLATFORM, VolumeRef.user(user), write=True)
    volume.store.commit({f"skills/{path}": data for path, data in files.items()}, "x", AUTHOR)


async def one(services: Services, skill_id: str, actor: Actor = ALICE) -> ServedSkill:
    return await services.served.get(actor, skill_uri(str(actor.volume), skill_id))


async def test_a_skill_is_served_byte_for_byte_with_digests(services: Services) -> None:
    files = {
        "SKILL.md": WHOLE,
        "references/a b#.md": b"A",
        "logo.png": b"\x89PNG\0",
        "scripts/deep/run.py": b"print(1)\r\n",
    }
    put(services, {f"tidy/{path}": data for path, data in files.items()})
    found = await one(services, "tidy")
    assert found.frontmatter == {
        "name": "tidy", "description": "Tidy up. Use when it is untidy.", "metadata": {"version": 1.5},
    }  # fmt: skip
    assert next(iter(found.files)) == "SKILL.md"
    assert {(file.path, file.digest, file.size) for file in found.files.values()} == {
        (path, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) for path, data in files.items()
    }
    for path, data in files.items():
        assert (await services.served.read(ALICE, SkillUri.parse(str(found.uri.at(path)))))[1] == data


async def test_what_is_remembered_is_bounded_by_its_size_too(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"tidy-{number}" for number in range(6)]
    for name in names:
        more = {f"{name}/scripts/{number}.py": b"pass\n" for number in range(20)} if name == "tidy-1" else {}
        put(services, {f"{name}/SKILL.md": WHOLE.replace(b"tidy", name.encode()) + b"." * 3000} | more)
    monkeypatch.setattr(served, "REMEMBERED_BYTES", 14_000)
    for name in [*names, *names]:
        assert (await one(services, name)).frontmatter["name"] == name
        sizes = [served._weight(made) for made in services.served._known.values()]
        assert sum(sizes) == services.served._size <= 14_000
    assert [key[1] for key in services.served._known] == ["tidy-3", "tidy-4", "tidy-5"]
    monkeypatch.setattr(served, "REMEMBERED_BYTES", 5_000)
    await one(services, "tidy-1")  # too large to be kept
    assert (len(services.served._known), services.served._size) == (0, 0)


async def test_keys_of_one_vendor_pass_unchanged(services: Services) -> None:
    put(services, {"tidy/SKILL.md": VENDOR})
    found = await one(services, "tidy")
    assert found.frontmatter == {
        "name": "tidy", "description": "Tidy: up", "model": "fast", "allowed-tools": ["Read"],
        "hooks": {"a": 1, "b": None},
    }  # fmt: skip
    assert (await services.served.read(ALICE, found.uri))[1] == VENDOR


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("tidy.md", b"---\nname: Tidy up\ncategory: coding\ndescription: Tidy.\nkeywords: [a, b]\n---\nDo.\n"),
        ("tidy/SKILL.md", b"---\nname: Other name\ndescription: Tidy.\n---\nDo.\n"),
        ("tidy/SKILL.md", b"---\nname: tidy\ndescription: Use when: it is untidy\n---\nDo.\n"),
        ("tidy/SKILL.md", b"# Tidy\n\nDo it like this.\n"),
    ],
)
async def test_what_strict_readers_would_refuse_is_served_in_the_form_of_the_standard(
    services: Services, path: str, content: bytes
) -> None:
    put(services, {path: content})
    found = await one(services, "tidy")
    _, data = await services.served.read(ALICE, found.uri)
    assert data != content
    assert strict_block("tidy", data) == found.frontmatter
    assert found.files["SKILL.md"].digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert yaml.safe_load(data.split(b"---\n")[1])["name"] == "tidy"


async def test_a_changed_skill_has_another_digest_at_once(services: Services) -> None:
    put(services, {"tidy/SKILL.md": WHOLE})
    before = await one(services, "tidy")
    put(services, {"tidy/SKILL.md": WHOLE + b"More.\n"})
    assert (await one(services, "tidy")).files["SKILL.md"].digest != before.files["SKILL.md"].digest


async def test_a_list_has_what_is_used_in_pages(services: Services) -> None:
    put(services, {f"s{number}/SKILL.md": WHOLE.replace(b"tidy", b"s%d" % number) for number in range(5)})
    put(services, {"code-review/SKILL.md": WHOLE.replace(b"tidy", b"code-review"), "broken/SKILL.md": b"\xff\xfe"})
    seen: list[ServedSkill] = []
    cursor = ""
    while True:
        page = await services.served.page(ALICE, limit=3, cursor=cursor)
        seen += page.items
        assert len(page.items) <= 3
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    names = [one.skill.skill_id for one in seen]
    assert names == sorted(set(names))
    assert {"s0", "s4", "charts"} <= set(names)
    assert "broken" not in names
    assert next(one for one in seen if one.skill.skill_id == "code-review").skill.volume == "user:alice"
    hidden = await services.served.get(ALICE, skill_uri("system", "code-review"))
    assert hidden.skill.volume == "system"


async def test_the_best_few_are_the_first_of_the_page(services: Services) -> None:
    query = "Review my pull request for bugs, and write tests"
    page = await services.skills.page(ALICE, query=query, limit=3)
    best = await services.skills.best(ALICE, query, limit=3)
    assert [(one.skill.skill_id, one.fits) for one in best] == [(one.skill.skill_id, one.fits) for one in page.items]
    assert best[0].skill.skill_id == "code-review"
    with pytest.raises(NotFound):
        await services.skills.best(ALICE, query, "sre")


async def test_nobody_gets_what_is_anothers(services: Services) -> None:
    put(services, {"tidy/SKILL.md": WHOLE})
    for text in ("skill://users/alice/tidy/SKILL.md", "skill://teams/sre/tidy/SKILL.md"):
        with pytest.raises(NotFound) as found:
            await services.served.read(BOB, SkillUri.parse(text))
        assert found.value.code == "skill.not_served"
    assert all(one.skill.volume == "system" for one in (await services.served.page(BOB)).items)
    with pytest.raises(NotFound):
        await services.served.page(BOB, "sre")


@pytest.mark.parametrize(
    "path", ["../../metadata.json", "..", "references/../SKILL.md", "./SKILL.md", "/SKILL.md", "skill.md"]
)
async def test_no_path_leads_out_of_a_skill(services: Services, path: str) -> None:
    put(services, {"tidy/SKILL.md": WHOLE, "tidy/references/a.md": b"A"})
    with pytest.raises(NotFound):
        await services.served.read(ALICE, skill_uri("user:alice", "tidy").at(path))


async def test_a_link_in_a_folder_is_not_served(services: Services, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Nobody gets here.")
    put(services, {"tidy/SKILL.md": WHOLE})
    folder = services.settings.data / "volumes/users/alice/skills/tidy"
    (folder / "link.md").symlink_to(secret)
    await asyncio.to_thread(services.edits.look)
    assert set((await one(services, "tidy")).files) == {"SKILL.md"}


async def test_too_much_for_a_client_is_refused_with_the_reason(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "LARGEST_SKILL", 2000)
    put(services, {"tidy/SKILL.md": WHOLE, **{f"tidy/f{number}": b"" for number in range(512)}})
    put(services, {"large/SKILL.md": WHOLE.replace(b"tidy", b"large"), "large/data": bytes(2000)})
    for name, why in (("tidy", "512 files"), ("large", "MiB")):
        with pytest.raises(NotFound, match=why):
            await one(services, name)
    kept = [made for made in services.served._known.values() if isinstance(made, Exception)]
    assert [made.__traceback__ for made in kept] == [None, None], "which would keep the files that were read"
    assert not {"tidy", "large"} & {one.skill.skill_id for one in (await services.served.page(ALICE, limit=200)).items}


async def test_a_broken_skill_says_why(services: Services) -> None:
    put(services, {"broken/SKILL.md": b"\xff\xfe"})
    with pytest.raises(NotFound, match="no UTF-8"):
        await one(services, "broken")


async def test_folders_are_listed_one_level_at_a_time(services: Services) -> None:
    put(services, {"tidy/SKILL.md": WHOLE, "tidy/a/b/c.md": b"C", "tidy/a/d.md": b"D"})
    root = skill_uri("user:alice", "tidy").at("")

    async def names(path: str) -> dict[str, bool]:
        found = await services.served.folder(ALICE, root.at(path))
        return {name: file is None for name, file in found.items()}

    assert await names("") == {"SKILL.md": False, "a": True}
    assert await names("a") == {"b": True, "d.md": False}
    assert await names("a/b") == {"c.md": False}
    assert set(await services.served.folder(ALICE, SkillUri.parse("skill://users/alice"))) == {"tidy"}
    for path in ("SKILL.md", "a/d.md", "b", "a/"):
        with pytest.raises(NotFound):
            await names(path)
    with pytest.raises(NotFound):
        await services.served.folder(BOB, SkillUri.parse("skill://users/alice"))
    with pytest.raises(Invalid):
        await services.served.page(ALICE, cursor="?")


# Front matter as JSON

PLAIN = {
    "1": 1, "-7": -7, "+7": 7, "0x1F": 31, "0o17": 15, "017": 17, "1.5": 1.5, "1e3": 1000.0, ".5": 0.5, "true": True,
    "FALSE": False, "~": None, "": None, "null": None, "yes": "yes", "on": "on", "2026-01-01": "2026-01-01",
    "1_000": "1_000", "1:30": "1:30", ".nan": ".nan", ".inf": ".inf", "'1'": "1", '"true"': "true", "!!str 1": "1",
    "0b1": "0b1", "1.2.3": "1.2.3",
}  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_a_scalar_means_what_yaml_1_2_says(text: str) -> None:
    assert frontmatter.load_json(f"key: {text}\n") == {"key": PLAIN[text]}


@pytest.mark.parametrize(
    "block", ["a: 1\na: 2\n", "a: &x 1\nb: *x\n", "- a\n", "a: b: c\n", "? [a]\n: b\n", "a: " + "[" * 20]
)
def test_what_strict_readers_refuse_is_refused(block: str) -> None:
    with pytest.raises(BrokenFrontMatterError):
        frontmatter.load_json(block)


def test_a_long_number_is_a_number() -> None:
    found = frontmatter.load_json(f"key: {'9' * 5000}\nother: {'9' * 30}\n")
    assert found == {"key": "9" * 5000, "other": 1e30}


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(categories=["L", "N", "P", "Zs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=5), VALUES, max_size=4))
def test_json_is_read_as_itself(fields: dict[str, Any]) -> None:
    block = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())
    assert frontmatter.load_json(block) == fields
