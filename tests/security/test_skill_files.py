"""Skills that are written to break whoever reads them: by API, by an archive, and by hand in the work tree."""

from __future__ import annotations

import io
import tarfile
import time
from typing import Any

import pytest
from world import Host, World

from llmos_lite.core.skills.format import Skill
from llmos_lite.volumes.access import VolumeRef

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [{','.join([f'*{chr(97 + number)}'] * 9)}]\n" for number in range(9)
)
DEEP = 60_000
BLOCKS = {
    "laughs": LAUGHS,
    "merged": "a: &a {b: c}\nd:\n  <<: [*a, *a, *a]\n",
    "itself": "a: &a\n  - *a\n",
    "brackets": "a: " + "[" * DEEP,
    "closed brackets": "a: " + "[" * (DEEP // 2) + "]" * (DEEP // 2),
    "braces": "a: " + "{a: " * (DEEP // 4),
    "dashes": "a:\n" + "- " * (DEEP // 2) + "x",
    "questions": "? " * (DEEP // 2),
    "indents": "\n".join(" " * depth + "a:" for depth in range(300)),
    "tags": "a: !!python/object/apply:os.system ['id']\nb: !!python/name:os.system\n",
    "binary": "a: !!binary " + "A" * DEEP,
    "numbers": "a: " + "9" * DEEP + "\nb: .inf\nc: 1e999999\nd: 0x" + "f" * 9999,
    "dates": "a: 2001-12-14t21:59:43.10-05:00\nb: 99999-99-99\n",
    "documents": "a: b\n...\n%YAML 9.9\n",
    "directives": "%TAG ! tag:evil,2000:\na: !x y\n",
    "keys": "".join(f"k{number}: x\n" for number in range(8_000)),
    "one key": "a: x\n" * 10_000,
    "a long key": "k" * DEEP + ": x",
    "zeros": "a: \x00\x01\x1b[2J\x7f\u202e\ufeff",
    "blanks": "a: @" + " " * DEEP + "\x01",
    "tabs": "a:\t" * (DEEP // 3),
    "quotes": 'a: "' + '\\"' * (DEEP // 2),
    "folded": "a: >\n" + " \n" * (DEEP // 2),
    "no end": "x" * (DEEP + 10_000),
}


def text_of(name: str) -> str:
    return f"---\nname: hostile\ndescription: How to.\n{BLOCKS[name]}\n---\n# It\n"


@pytest.mark.parametrize("name", BLOCKS)
def test_any_front_matter_is_read_quickly_or_refused(name: str) -> None:
    begun = time.thread_time()
    skill = Skill.parse("hostile", text_of(name))
    assert time.thread_time() - begun < 2
    assert len(repr(skill)) < 4_000_000
    for value in (*skill.extra.values(), *skill.metadata.values()):
        assert isinstance(value, (str, list, dict))


def archive(text: str) -> bytes:
    stream, data = io.BytesIO(), text.encode("utf-8", "surrogatepass")
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("hostile/SKILL.md")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_nothing_of_it_breaks_the_interface(host: Host, world: World) -> None:
    async def look() -> list[tuple[str, str, int]]:
        alice, wrong = world.client("alice"), list[tuple[str, str, int]]()
        folder = world.services.volumes.folder(VolumeRef.user("alice"))
        for name in BLOCKS:
            body: dict[str, Any] = {"skill_id": "hostile", "description": "How to.", "content": text_of(name)}
            sent = await alice.post("/skills", body)
            tar = {"content-type": "application/x-tar"}
            packed = await alice.request("POST", "/skills/install", content=archive(text_of(name)), headers=tar)
            by_hand = folder / "skills" / "by-hand.md"
            by_hand.write_text(text_of(name), encoding="utf-8")
            listed = await alice.get("/skills?limit=100")
            read = await alice.get("/skills/by-hand")
            chat = await alice.post("/chat", {"message": "How do I do it, by hand, hostile?"})
            for what, answer in (("api", sent), ("archive", packed), ("list", listed), ("read", read), ("chat", chat)):
                if answer.status >= 500:
                    wrong.append((name, what, answer.status))
            await alice.request("DELETE", "/skills/hostile")
            by_hand.unlink(missing_ok=True)
        return wrong

    assert host.run(look()) == []
