"""What may be a credential in an address becomes stars, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.credentials import masked

TOKEN = f"llmos_0a1b2c3d_{'9f3e' * 16}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://h.example/c/{TOKEN}/t/sre", "https://h.example/c/***/t/sre"),
        (f"https://h.example/mcp/t/{TOKEN}", "https://h.example/mcp/t/***"),
        (f"https://h.example/x.zip#{TOKEN}", "https://h.example/x.zip#***"),
        ("https://h.example/a.zip?private_token=abc&ref=main", "https://h.example/a.zip?private_token=***&ref=main"),
        ("https://h.example/a.zip?X-Amz-Signature=ff&raw", "https://h.example/a.zip?X-Amz-Signature=***&raw"),
        (f"https://h.example/a.zip?ref={TOKEN}", "https://h.example/a.zip?ref=***"),
        ("https://h.example/a.zip?abcdef", "https://h.example/a.zip?***"),
        ("https://me:pass@h.example/x.git", "https://***@h.example/x.git"),
        ("https://tokenonly@h.example/x.git", "https://***@h.example/x.git"),
        ("ssh://git:pass@h.example/x.git", "ssh://git:***@h.example/x.git"),
        ("https://h.example/sk-ant-api03-Zk3vQ9xLw2Tn8RbYc5Md7Fh1/x.zip", "https://h.example/***/x.zip"),
    ],
)
def test_credentials_become_stars(address: str, shown: str) -> None:
    assert masked(address) == shown
    assert masked(shown) == shown


PLAIN = [
    "https://github.com/acme/skills.git", "acme/skills/tools@v1", "git@host.example:acme/skills.git", "", "***",
    "ssh://git@host.example/acme/skills.git", "file:///srv/repositories/tea", "https://example.org",
    "https://raw.example.org/acme/skills/4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c/SKILL.md",
    "https://example.org/.well-known/agent-skills/index.json", "https://example.org/x.zip?ref=main&path=a/b#v2",
]  # fmt: skip


@pytest.mark.parametrize("address", PLAIN)
def test_plain_addresses_stay(address: str) -> None:
    assert masked(address) == address


@given(st.text(max_size=80), st.text(alphabet="?&=#/@:", max_size=10), st.text(max_size=20))
def test_any_text_may_be_given_and_our_tokens_never_pass(lead: str, between: str, end: str) -> None:
    assert "9f3e9f3e" not in masked(f"{lead}{between}{TOKEN}{end}")
