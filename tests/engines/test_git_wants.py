"""What a fetch wants, and whether shown refs lead to it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_wants import beyond, wants
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Invalid

ALICE = Author("alice", "alice@localhost")


def line(text: str) -> bytes:
    return f"{len(text) + 4:04x}{text}".encode()


def test_wants_are_read_wherever_they_stand() -> None:
    one, other = "1" * 40, "a" * 40
    body = line("command=fetch") + b"0001" + line(f"want {one}\n") + line(f"have {other}\n") + line(f"want {other}")
    assert wants(body + line(f"want {one}") + line("done\n") + b"0000") == [one, other]
    assert wants(line("command=ls-refs\n") + b"00010000") == []
    assert wants(b"") == []


@pytest.mark.parametrize(
    "body",
    [
        b"xyz",
        b"0003",
        b"00ffwant",
        b"+010want 12345",
        b"0x10want 12345",
        line("want-ref refs/heads/pr/a"),
        line("want x"),
    ],
)
def test_what_is_no_fetch_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        wants(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert all(len(oid) == 40 for oid in wants(body))


def test_only_what_shown_refs_lead_to_may_be_had(tmp_path: Path) -> None:
    store = LocalGitStore(tmp_path / "x.git", signer=Signer.open(tmp_path / "keys"), bare=True)
    first = store.commit({"a/one.md": b"one"}, "One", ALICE)
    second = store.commit({"a/two.md": b"two"}, "Two", ALICE)
    hidden = store.commit({"b/secret.md": b"secret"}, "Secret", ALICE, branch="pr/alice/secret")
    shown = ("refs/heads/main", "refs/heads/pr/bob")

    def denied(*oids: str) -> str | None:
        return beyond(store.gitdir, oids, shown)

    seen = store.entry("a/one.md", at=first.oid)
    secret = store.entry("b/secret.md", at=hidden.oid)
    assert seen is not None
    assert secret is not None
    assert denied() is denied(second.oid) is denied(first.oid) is denied(seen.oid, second.tree) is None
    assert denied(second.oid, hidden.oid) == hidden.oid
    for oid in (hidden.tree, secret.oid, "0" * 40):
        assert denied(seen.oid, oid) == oid
    assert beyond(store.gitdir, [secret.oid], ("refs/heads/pr/alice",)) is None
    assert beyond(store.gitdir, [hidden.oid], ("refs/heads/pr/ali",)) == hidden.oid
