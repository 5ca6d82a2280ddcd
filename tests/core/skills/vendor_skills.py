"""Skills in the shapes that other tools write, and that an import keeps byte for byte."""

from __future__ import annotations

from llmos_lite.engines.git import File

BODY = "\n# Steps\n\n1. Do it.\n"


def _skill(block: str, body: str = BODY) -> bytes:
    return f"---\n{block}---\n{body}".encode()


LONG = "Build it. Use when it is to be built. " * 28 + "End."
VALID: dict[str, bytes] = {
    "plain": _skill("name: plain\ndescription: Does it. Use when it is to be done.\n"),
    "no-newline": _skill("name: no-newline\ndescription: Does it.\n", "x"),
    "carriage": b"---\r\nname: carriage\r\ndescription: Does it.\r\n---\r\nbody\r\n",
    "quoted": _skill("name: quoted\ndescription: 'Does it: well'\nlicense: Complete terms in LICENSE.txt\n"),
    "block": _skill("name: block\ndescription: |\n  Does it.\n  Use when: asked.\n"),
    "fenced": _skill("name: fenced\ndescription: Does it.\n", "a\n---\nb\n---\n```\n---\n```\n"),
    "emoji": _skill("name: emoji\ndescription: Does it 🎉, 中文, привет.\n", "héllo \u200d 🎉\t\n\n\n"),
    "tools": _skill("name: tools\ndescription: Does it.\nallowed-tools: Bash(git:*) Bash(jq:*) Read\n"),
}
VENDOR: dict[str, bytes] = {
    "claude-keys": _skill(
        "name: claude-keys\ndescription: Does it.\nwhen_to_use: when asked\nargument-hint: '[file] [how]'\n"
        "disable-model-invocation: true\nuser-invocable: false\nmodel: opus\ncontext: fork\nagent: Explore\n"
        "hooks:\n  PreToolUse:\n    - matcher: Bash\n      hooks:\n        - type: command\n          command: ./x.sh\n"
    ),
    "comma-tools": _skill("name: comma-tools\ndescription: Does it.\nallowed-tools: [Read, 'Bash(git:*)', Write]\n"),
    "open-claw": _skill(
        "name: open-claw\nversion: 1.2.0\ndescription: Does it.\nmetadata:\n  openclaw:\n    requires:\n"
        "      env: [API_KEY]\n      anyBins:\n        - curl\n        - wget\n    primaryEnv: API_KEY\n    emoji: 🦞\n"
    ),
    "json-metadata": _skill('name: json-metadata\ndescription: Does it.\nmetadata: {"a":{"b":["c",1]}}\n'),
    "dashes": _skill('name: dashes\ndescription: "a --- b"\n'),
    "long-words": _skill(f"name: long-words\ndescription: {LONG}\n"),
    "byte-mark": b"\xef\xbb\xbf" + _skill("name: byte-mark\ndescription: Does it.\n"),
    "other-name": _skill("name: Other Name\ndescription: Does it.\n"),
    "no-name": _skill("description: Does it.\n"),
    "no-block": b"# No block\n\nDoes it.\n",
    "colon": _skill("name: colon\ndescription: Use when: somebody asks: why\n"),
    "tabs": _skill("name:\ttabs\ndescription:\tDoes it.\n", "\tcode\n"),
}
FOLDER: dict[str, File] = {
    "scripts/run.sh": File(b"#!/bin/sh\r\necho hi\n", executable=True),
    "scripts/lib.py": File(b"x = 1\n"),
    "references/deep/er/notes.md": File("größe\n".encode()),
    "assets/logo.png": File(bytes(range(256)) * 5),
    "assets/empty": File(b""),
    "LICENSE.txt": File(b"MIT"),
    "tools": File(b"#!/usr/bin/env python3\n", executable=True),
}


def library() -> dict[str, File]:
    """Return all of them as the files of one tree, one with a whole folder."""
    files = {f"skills/{name}/SKILL.md": File(data) for name, data in (VALID | VENDOR).items()}
    return files | {f"skills/claude-keys/{path}": file for path, file in FOLDER.items()}
