"""What a skill's folder holds: programs that cannot be read, archives, hidden files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from llmos_lite.core.skills.scan import Category, Finding, Severity

_MAGIC = (
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\0asm",
    b"dex\n",
)
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"xar!")
_BYTECODE = frozenset({".pyc", ".pyo", ".class"})
_UNREADABLE = frozenset(
    {
        ".exe",
        ".dll",
        ".so",
        ".dylib",
        ".msi",
        ".scr",
        ".jar",
        ".wasm",
        ".node",
        ".apk",
        ".dmg",
        ".pkg",
        ".deb",
        ".rpm",
        ".com",
        ".bin",
    }
)
_PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2", ".whl"})
_OFFICE = frozenset(
    {
        ".docx",
        ".xlsx",
        ".pptx",
        ".odt",
        ".ods",
        ".odp",
        ".epub",
        ".dotx",
        ".potx",
        ".xltx",
        ".skill",
        ".ttf",
        ".otf",
        ".woff",
        ".woff2",
    }
)
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill"})
_HIDDEN_AS_USUAL = frozenset(
    {
        ".gitignore",
        ".gitkeep",
        ".gitattributes",
        ".env.example",
        ".editorconfig",
        ".npmrc.example",
        ".clawhub",
        ".prettierrc",
        ".claude-plugin",
        ".nvmrc",
        ".markdownlint.json",
        ".skillignore",
    }
)
PROGRAMS = frozenset(
    {
        ".py",
        ".sh",
        ".bash",
        ".zsh",
        ".js",
        ".mjs",
        ".cjs",
        ".ts",
        ".rb",
        ".pl",
        ".php",
        ".ps1",
        ".bat",
        ".cmd",
        ".lua",
        ".go",
        ".rs",
        ".applescript",
    }
)
TEXT = frozenset({".md", ".mdx", ".txt", ".rst", ".html", ".htm", ".xml", ".csv", ".adoc", ""})
SAMPLE = 8192


def look(files: Mapping[str, bytes]) -> Iterator[Finding]:
    """Yield what is to be said about files as such."""
    for path, data in files.items():
        yield from _of_name(path)
        if is_named_text(path, data):
            yield from _of_disguised(path, data)
        elif is_binary(data):
            yield from _of_binary(path, data)


def is_binary(data: bytes) -> bool:
    """Tell whether a file is no text."""
    return b"\0" in data[:SAMPLE] or data[:4] in {b"PK\x03\x04", b"\xcb\x0d\x0d\x0a"}


def is_named_text(path: str, data: bytes) -> bool:
    """Tell whether whoever opens a file takes it for a text or a script, whatever it holds."""
    end = PurePosixPath(path).suffix.lower()
    return end in PROGRAMS or (end in TEXT and bool(end)) or data[:SAMPLE].lstrip(b"\0").startswith(b"#!")


def _of_disguised(path: str, data: bytes) -> Iterator[Finding]:
    if data.startswith((*_MAGIC[:1], *_MAGIC[2:], *_ARCHIVES)):
        yield _found(path, "file.disguised", Severity.HIGH, "It is named as a text, and begins as a binary.")
    elif b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield _found(
            path, "file.nul", Severity.HIGH, "It is named as a text, and has NULs, which hide it from readers."
        )
    elif b"\0" in data:
        yield _found(path, "file.encoding", Severity.MEDIUM, "It is in UTF-16, which most readers show as noise.")


def _of_name(path: str) -> Iterator[Finding]:
    hidden = [part for part in PurePosixPath(path).parts if part.startswith(".") and part not in _HIDDEN_AS_USUAL]
    if hidden:
        severity = (
            Severity.MEDIUM if PurePosixPath(path).suffix not in {".md", ".json", ".yml", ".yaml"} else Severity.LOW
        )
        yield _found(path, "file.hidden", severity, f"The file {hidden[0]} is hidden in most listings.")


def _of_binary(path: str, data: bytes) -> Iterator[Finding]:
    end = PurePosixPath(path).suffix.lower()
    if end in _BYTECODE or (data[2:4] == b"\r\n" and end not in _OFFICE):
        yield _found(
            path, "file.bytecode", Severity.HIGH, "It is compiled, so nobody can read what it does; ship the source."
        )
    elif data.startswith(_MAGIC) or end in _UNREADABLE - {".bin"}:
        yield _found(path, "file.program", Severity.HIGH, "It is a compiled program, so nobody can read what it does.")
    elif end in _PICKLES:
        yield _found(path, "file.pickle", Severity.MEDIUM, "It may run anything when it is loaded.")
    elif (data.startswith(_ARCHIVES) or end in _PACKED) and end not in _OFFICE:
        yield _found(path, "file.archive", Severity.MEDIUM, "It is an archive; what is in it was not looked at.")


def _found(path: str, code: str, severity: Severity, message: str) -> Finding:
    return Finding(code, severity, message, file=path, category=Category.BINARY)
