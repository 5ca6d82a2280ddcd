"""Documents in requests: all dialects carry them, not all of them every kind.

Which kinds is in OpenAI's page on file inputs (chat completions take PDF with its bytes, responses also others and
addresses) and in Anthropic's on PDF and on the types of its documents (PDF with its bytes or address, plain text).
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

PDF = "application/pdf"
_PDF_BEGINS = base64.b64encode(b"%PDF-1").decode()[:7]
_ANY = "application/octet-stream"
_SAME = {"application/x-pdf": PDF, "image/jpg": "image/jpeg"}
"""Types by other names, which only some servers know."""
_TEXTS = frozenset(f"application/{kind}" for kind in ("json", "xml", "yaml", "x-yaml", "toml", "javascript", "sql"))
_ENDINGS = (
    " bash c cc cfg conf cpp cs css csv diff go h hpp htm html ini java js json jsonl kt log lua md mjs patch php pl py"
    " r rb rs rst sh sql srt svg swift tex toml ts tsv tsx txt vtt xml yaml yml "
)
"""Ends of names of text files."""


def held_in(data: str) -> tuple[str, str]:
    """Return the type that an address which holds bytes says, without what follows it, and the bytes in base64.

    Bytes that no address holds have no type. An address may write its bytes as they are, with `%20` for what is odd.
    """
    if data[:5].lower() != "data:":
        return "", data
    head, _, held = data.partition(",")
    kind, *rest = (part.strip().lower() for part in head[5:].split(";"))
    if "base64" not in rest:
        held = base64.b64encode(unquote_to_bytes(held)).decode()
    return _SAME.get(kind, kind), held


class File(NamedTuple):
    """A document: an address, or bytes in base64.

    Args:
        url: the address; empty where there are bytes.
        data: the bytes.
        kind: their type.
        name: what the file is called; may be empty.
        given: whether a tool gave it.
    """

    url: str = ""
    data: str = ""
    kind: str = PDF
    name: str = ""
    given: bool = False

    @classmethod
    def of(cls, data: str, name: str = "", *, given: bool = False) -> File:
        """Read bytes in base64, bare or as an address that holds them and says their type."""
        kind, held = held_in(data)
        return cls(data=held, kind=_kind(kind, name, held), name=name, given=given)

    @property
    def address(self) -> str:
        """Return an address that holds the bytes."""
        return f"data:{self.kind};base64,{self.data}"

    @property
    def called(self) -> str:
        """Return a name that says the type: OpenAI refuses bytes without one."""
        name = self.name or "document"
        return f"{name}.pdf" if self.kind == PDF and not name.lower().endswith(".pdf") else name

    @property
    def text(self) -> str | None:
        """Return what is in it; None unless that is text."""
        if not self.data or not (self.kind.startswith("text/") or self.kind in _TEXTS):
            return None
        try:
            return base64.b64decode("".join(self.data.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None


def _kind(said: str, name: str, data: str) -> str:
    """Return what a file is, also where only its name or its first bytes say so."""
    if said not in {"", _ANY}:
        return said
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if data.startswith(_PDF_BEGINS) or ending in {"", "pdf"}:
        return PDF
    return "text/plain" if f" {ending} " in _ENDINGS else _ANY


def is_any(_: File) -> bool:
    """Tell that a file is one."""
    return True


def is_pdf(file: File) -> bool:
    """Tell whether a file is a PDF with its bytes."""
    return bool(file.data) and file.kind == PDF


def is_known(file: File) -> bool:
    """Tell whether a file is one that Anthropic takes: a PDF with its bytes or address, or a text."""
    return bool(file.url) or is_pdf(file) or file.text is not None
