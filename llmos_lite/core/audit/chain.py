"""The chain of the audit log: each row's hash covers the row and the hash of the row before it.

hash = SHA-256 of the JSON array [1, seq, time, actor, owner, credential, client, request_id, action, target, about,
result, code, detail, prev], as UTF-8 without spaces, in hex. `prev` of the first row is 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from llmos_lite.records.audit import AuditRecord

VERSION = 1
GENESIS = "0" * 64
"""What stands for the hash before the first row."""

MOST_FACTS = 16
LONGEST_FACT = 300
_LENGTHS = {
    "actor": 64,
    "owner": 64,
    "credential": 120,
    "client": 64,
    "request_id": 64,
    "action": 64,
    "target": 200,
    "about": 80,
    "result": 10,
    "code": 64,
}
_SECRETS = re.compile(r"(?<=//)[^/@\s]+(?=@)|(?<=llmos_)([0-9a-f]{8})_[0-9a-zA-Z]+")
"""Credentials in a URL, and keys of ours: nothing else gets here, and these do only when somebody misplaces them."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A row before it has its place in the chain."""

    time: int
    action: str
    target: str = ""
    about: str = ""
    actor: str = ""
    owner: str = ""
    credential: str = ""
    client: str = ""
    request_id: str = ""
    result: str = "ok"
    code: str = ""
    detail: Mapping[str, str] | None = None


def seal(draft: Draft, seq: int, prev: str) -> AuditRecord:
    """Return a draft as row `seq` after the one whose hash is `prev`; what is too long is cut."""
    fields = {name: clean(getattr(draft, name), length) for name, length in _LENGTHS.items()}
    record = AuditRecord(
        seq=seq, time=draft.time, detail=_packed(draft.detail or {}), prev=prev or GENESIS, hash="", **fields
    )
    return msgspec.structs.replace(record, hash=digest(record))


def digest(record: AuditRecord) -> str:
    """Return the hash that a row must have."""
    fields = [getattr(record, name) for name in AuditRecord.__struct_fields__ if name != "hash"]
    return hashlib.sha256(msgspec.json.encode([VERSION, *fields])).hexdigest()


def clean(text: str, length: int) -> str:
    """Return text as every database takes it, without what steers a terminal or opens a door."""
    return _SECRETS.sub(_hidden, _UNPRINTABLE.sub("\ufffd", text[: 4 * length]))[:length]


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1]}_…" if found[1] else "…"


def _packed(detail: Mapping[str, str]) -> str:
    facts = {clean(key, 64): clean(str(value), LONGEST_FACT) for key, value in list(detail.items())[:MOST_FACTS]}
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)
