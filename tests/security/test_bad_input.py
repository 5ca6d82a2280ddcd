"""Queries, files and archives that nobody means well with, through the interface: clear errors, and nothing leaks."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asgi_client import Answer
from world import Host, World

from benchmarks._server import serving
from llmos_lite.volumes.access import VolumeRef

MEGABYTE = 1 << 20
SECRET = "walnut-4711-of-another-folder"
ELSEWHERE = "/tmp/llmos-evil"  # noqa: S108 - where an archive wants to write
TAR = {"content-type": "application/x-tar"}
QUERIES = {
    "one letter": "a",
    "two signs": "?!",
    "blanks": " \t\r\n ",
    "chinese": "如何优化数据库查询",
    "arabic": "كيف أكتب رسالة؟",
    "right to left": "\u202eabc\u202c",
    "emoji": "🎉👩‍👩‍👧‍👦🏳️‍🌈",
    "joined emoji": "\u200d" * 500,
    "accents": "e" + "\u0301" * 3000,
    "nul": "a\0b",
    "control": "\x1b[2J\x07\x7f",
    "camels": "aB" * 1900,
    "one word": "x" * 3900,
    "wildcards": "%' OR 1=1 -- * ? [a-z]+ \\",
    "quotes": '"' * 3000,
    "tags": "generate tags " * 250,
    "slots": "<email:1>" * 400,
}
LONG = {
    "a word of a megabyte": "x" * MEGABYTE,
    "a megabyte of words": "boil water " * (MEGABYTE // 11),
    "a megabyte of Chinese": "数据" * (MEGABYTE // 6),
    "a megabyte of emoji": "🎉" * (MEGABYTE // 4),
    "a megabyte of accents": "\u0301" * (MEGABYTE // 2),
    "a megabyte of blanks": " " * MEGABYTE,
    "a megabyte of camels": "aB" * (MEGABYTE // 2),
}


def clear(answer: Answer, *, refused: bool | None = None) -> None:
    """Show that an answer is one, or a refusal that says what is wrong."""
    assert answer.status < 500, answer.body
    if refused is not None:
        assert (answer.status >= 400) is refused, answer.body
    if answer.status >= 400:
        said = answer.json()
        assert said["code"]
        assert said["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


# Queries


@pytest.mark.parametrize("name", QUERIES)
def test_any_query_is_answered(host: Host, world: World, name: str) -> None:
    async def ask() -> None:
        alice = world.client("alice")
        for path in (f"/skills?query={quote(QUERIES[name])}", f"/skills?explain=true&query={quote(QUERIES[name])}"):
            clear(await alice.get(path), refused=False)
        blank = not QUERIES[name].strip()
        clear(await alice.post("/chat", {"message": QUERIES[name]}), refused=blank)

    host.run(ask())


@pytest.mark.parametrize("name", LONG)
def test_a_megabyte_is_refused_in_an_address_and_taken_in_a_body(host: Host, world: World, name: str) -> None:
    async def ask() -> None:
        alice = world.client("alice")
        clear(await alice.get("/skills?query=" + quote(LONG[name])), refused=True)
        clear(await alice.post("/chat", {"message": LONG[name]}), refused=not LONG[name].strip())

    host.run(ask())


@pytest.mark.parametrize("query", ["%ff%fe", "%ed%a0%80", "%c0%af", "%", "%zz", "%00", "%f0%9f"])
def test_bytes_that_are_no_text_are_no_surprise(host: Host, world: World, query: str) -> None:
    async def ask() -> None:
        for path in (f"/skills?query={query}", f"/skills?explain=true&query={query}", f"/skills/{query}"):
            clear(await world.client("alice").get(path))

    host.run(ask())


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff\\ud800", "x\\udc00", "\\u0000", "\\ufffe", "\\ud83c\\udf89"])
@pytest.mark.parametrize(
    ("path", "field"), [("/chat", "message"), ("/skills", "description"), ("/skills", "content"), ("/skills", "name")]
)
def test_half_characters_in_a_body_are_kept_out_or_harmless(
    host: Host, world: World, path: str, field: str, escape: str
) -> None:
    body = {"skill_id": "half", "description": "Brews tea", "content": "Boil."} if path == "/skills" else {}
    text = json.dumps(body | {field: "@"}).replace("@", escape + " tea")

    async def ask() -> None:
        alice = world.client("alice")
        headers = {"content-type": "application/json"}
        clear(await alice.request("POST", path, content=text.encode(), headers=headers))
        clear(await alice.get("/skills?limit=100"), refused=False)
        clear(await alice.get("/traces"), refused=False)
        await world.services.traces.fold()
        await alice.request("DELETE", "/skills/half")

    host.run(ask())
    assert not world.services.problems()


def test_a_real_server_refuses_an_address_of_a_megabyte(tmp_path: Path) -> None:
    with serving(tmp_path / "data", LLMOS_LLM_PROVIDER="offline") as server:
        for letters in (5_000, MEGABYTE):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            with closing(connection), suppress(BrokenPipeError, ConnectionResetError):
                connection.request("GET", "/skills?query=" + "x" * letters, headers=server.headers)
                assert 400 <= connection.getresponse().status < 500
        assert server.ask("GET", "/skills?query=tea")["items"] is not None


# Files in a volume


def broken_files(folder: Path, outside: Path) -> None:
    """Put every kind of broken file into the skills of a work tree."""
    (folder / "bytes.md").write_bytes(bytes(range(256)) * 20)
    (folder / "nul.md").write_bytes(b"---\nname: nul\n---\nA\0B")
    (folder / "empty.md").write_bytes(b"")
    (folder / "half.md").write_bytes(b"---\nname: half\ndescription: never")
    (folder / "latin.md").write_bytes("---\nname: latin\ndescription: Käse\n---\n".encode("latin-1"))
    (folder / "huge.md").write_bytes(b"---\nname: huge\ndescription: Huge tea\n---\n" + b"tea " * (MEGABYTE // 2))
    (folder / "bare").mkdir()
    (folder / "bare" / "notes.txt").write_text("No SKILL.md here")
    (folder / "folder").mkdir()
    (folder / "folder" / "SKILL.md").mkdir()
    (folder / "folder" / "SKILL.md" / "inner").write_text("x")
    (folder / "Mine").mkdir()
    (folder / "Mine" / "SKILL.md").write_text("---\nname: Mine\ndescription: Not mine\n---\nAnother case.\n")
    (folder / "we ird\nname.md").write_text("---\nname: x\ndescription: y\n---\n")
    (folder / os.fsdecode(b"\xff\xfe.md")).write_text("---\nname: x\ndescription: y\n---\n")
    (folder / "mine" / os.fsdecode(b"\xe9t\xe9.txt")).write_text("In another code")
    (folder / "stolen.md").symlink_to(outside / "secret.md")
    (folder / "linked").symlink_to(outside)
    (folder / "inside").mkdir()
    (folder / "inside" / "SKILL.md").symlink_to(outside / "secret.md")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe.md")


@pytest.fixture(scope="module")
def broken(host: Host, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the work tree of mate, into whose skills every kind of broken file was put."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.md").write_text(f"---\nname: secret\ndescription: {SECRET}\n---\n{SECRET}\n")
    (outside / "SKILL.md").write_text(f"---\nname: linked\ndescription: {SECRET}\n---\n{SECRET}\n")
    made = {"skill_id": "mine", "description": "Brews tea", "content": "Boil."}
    assert host.run(world.ask("mate", "POST", "/skills", made)).status == 201
    folder = world.services.volumes.folder(VolumeRef.user("mate"))
    broken_files(folder / "skills", outside)
    world.services.edits.look()
    yield folder
    assert str(VolumeRef.user("mate")) not in world.services.problems()
    assert (outside / "secret.md").read_text().endswith(f"{SECRET}\n")


@pytest.mark.usefixtures("broken")
def test_broken_files_break_nothing_else(host: Host, world: World) -> None:
    async def look() -> dict[str, dict[str, Any]]:
        mate = world.client("mate")
        clear(await mate.post("/skills", {"skill_id": "other", "description": "x", "content": "y"}), refused=False)
        listed = await mate.get("/skills?limit=500")
        clear(listed, refused=False)
        for query in ("tea", SECRET, "huge latin half bytes", "case"):
            found = await mate.get("/skills?explain=true&query=" + quote(query))
            clear(found, refused=False)
            assert SECRET not in found.body.decode()
        chat = await mate.post("/chat", {"message": "Brew tea"})
        assert [one["skill_id"] for one in chat.json()["skills_used"]] == ["mine"]
        return {row["skill_id"]: row for row in listed.json()["items"] if row["volume"] == "user:mate"}

    rows = host.run(look())
    assert rows["mine"]["error"] is None
    for name in ("bytes", "nul", "empty", "half", "latin", "bare", "folder", "Mine", "\ufffd\ufffd.md"):
        assert rows[name]["error"], name
    assert not {"stolen", "linked", "inside", "loop", "pipe"} & {name for name, row in rows.items() if not row["error"]}


@pytest.mark.parametrize(
    "name",
    [
        *("bytes", "nul", "empty", "half", "latin", "huge", "bare", "folder", "Mine", "stolen", "linked", "inside"),
        *("mine", "loop", "pipe", "we%20ird%0Aname", "%FF%FE", "mine%2F..%2F..", ".git", "..", "mine%00"),
    ],
)
def test_a_broken_skill_is_read_changed_and_deleted_without_surprise(
    host: Host, world: World, broken: Path, name: str
) -> None:
    async def look() -> None:
        mate = world.client("mate")
        for method, path, body in (
            ("GET", f"/skills/{name}", None),
            ("GET", f"/skills/{name}/history", None),
            ("GET", f"/skills/{name}/file?path=SKILL.md", None),
            ("GET", f"/skills/{name}/file?path=../../../../admin.key", None),
            ("GET", f"/skills/{name}/file?path=%E9t%E9.txt", None),
            ("GET", f"/skills/{name}/diff", None),
            ("GET", f"/skills/{name}/diff?from_volume=system", None),
            ("GET", "/volumes/history", None),
            ("GET", f"/skills/{name}/blame", None),
            ("POST", "/skills/promote", {"skill_id": name, "team_id": "sre", "reason": "Try"}),
            ("PUT", f"/skills/{name}", {"description": "Brews tea"}),
        ):
            answer = await mate.request(method, path, json_body=body)
            clear(answer)
            assert SECRET not in answer.body.decode("utf-8", "replace")
        clear(await mate.request("DELETE", f"/skills/{name}"))

    host.run(look())
    assert (broken / ".git").is_dir()


# A name like another one's


def test_a_skill_that_is_named_like_another_in_another_case(host: Host, world: World) -> None:
    async def look() -> None:
        bob = world.client("bob")
        skill = {"skill_id": "bobs", "description": "How to.", "content": "Again."}
        clear(await bob.post("/skills", skill), refused=True)
        for name in ("Bobs", "BOBS", "bobs\u200b", "b\u00f6bs", "\uff42obs", "bobs.", "bobs "):
            answer = await bob.post("/skills", skill | {"skill_id": name})
            clear(answer, refused=True)
            assert answer.json()["code"].startswith(("id.", "skill.", "request."))
        clear(await bob.get("/skills/BOBS"), refused=True)
        packed = await install(world, "bob", tar({"Bobs/SKILL.md": text("Bobs"), "bobs/SKILL.md": text("bobs")}))
        clear(packed, refused=False)
        assert "refused" in {one["status"] for one in packed.json()["items"]}
        rows = (await bob.get("/skills?volume=user:bob")).json()["items"]
        assert [row["skill_id"] for row in rows] == ["bobs"]

    host.run(look())


# Archives


def text(name: str, more: str = "") -> bytes:
    return f"---\nname: {name}\ndescription: Brews {name}\n---\n{more}\n".encode()


def tar(files: dict[str, bytes], **links: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info = tarfile.TarInfo(f"linked/{name}.md")
                info.type, info.linkname = kind, target
                archive.addfile(info)
    return stream.getvalue()


async def install(world: World, who: str, body: bytes) -> Answer:
    return await world.client(who).request("POST", "/skills/install", content=body, headers=TAR)


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def bombs() -> dict[str, bytes]:
    zeros = bytes(300 * MEGABYTE)
    large = gzip.compress(tar({"bomb/SKILL.md": text("bomb"), "bomb/zeros": zeros}), 1)
    return {
        "a large file": large,
        "packed twice": gzip.compress(large),
        "many files": gzip.compress(tar({f"bomb/{number}": b"" for number in range(20_000)}), 1),
        "a zip": zipped({"bomb/SKILL.md": text("bomb"), "bomb/zeros": zeros}),
        "names that lead out": tar({"../../../evil/SKILL.md": text("evil")}),
        "absolute names": tar({f"{ELSEWHERE}/SKILL.md": text("evil")}),
        "a name with a NUL": tar({"evil\0/SKILL.md": text("evil")}),
        "a deep name": tar({"a/" * 5000 + "SKILL.md": text("evil")}),
        "a git folder": tar({"evil/.git/hooks/post-checkout": b"#!/bin/sh\n", "evil/SKILL.md": text("evil")}),
        "half an archive": tar({"evil/SKILL.md": text("evil") * 100})[:700],
        "no archive": b"\x89PNG" + bytes(range(256)) * 10,
        "nothing": b"",
    }


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    return bombs()


@pytest.mark.parametrize("name", [
    "a large file", "packed twice", "many files", "a zip", "names that lead out", "absolute names",
    "a name with a NUL", "a deep name", "a git folder", "half an archive", "no archive", "nothing",
])  # fmt: skip
def test_a_bomb_goes_off_nowhere(host: Host, world: World, packed: dict[str, bytes], name: str) -> None:
    data = world.services.settings.data
    before = {path for path in data.parent.rglob("*") if ".git" not in path.parts}
    answer = host.run(install(world, "bob", packed[name]))
    clear(answer)
    assert answer.status < 300 or answer.status in {400, 413}
    assert not Path(ELSEWHERE).exists()
    after = {path for path in data.parent.rglob("*") if ".git" not in path.parts}
    new = {path for path in after - before if not path.is_relative_to(data / "volumes/users/bob/skills")}
    assert not {path for path in new if path.suffix != ".db-wal" and "tmp" not in path.parts}, new
    assert not list((data / "tmp").glob("*"))
    skills = data / "volumes/users/bob/skills"
    assert all(path.resolve().is_relative_to(skills.resolve()) for path in skills.rglob("*"))
    host.run(world.ask("bob", "DELETE", "/skills/evil"))


def test_links_in_an_archive_lead_nowhere(host: Host, world: World) -> None:
    target = str(world.services.settings.data / "admin.key")
    body = tar({"linked/SKILL.md": text("linked")}, one=target, two="../../../../admin.key", SKILL="/etc/passwd")
    answer = host.run(install(world, "bob", body))
    clear(answer, refused=False)
    shown = host.run(world.ask("bob", "GET", "/skills/linked")).json()
    assert (shown["files"], "root:" in shown["content"]) == ([], False)
