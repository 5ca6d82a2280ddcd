"""Every code of the house with its category, its severity in plain sight, and what it means; for the docs."""

from __future__ import annotations

from typing import NamedTuple

from llmos_lite.core.skills.scan import Category, Severity


class Code(NamedTuple):
    """A code of a finding."""

    code: str
    category: Category
    severity: Severity
    message: str


H, M, L = Severity.HIGH, Severity.MEDIUM, Severity.LOW
OTHERS = (
    Code(
        "concealment.comment",
        Category.CONCEALMENT,
        H,
        "A comment, which no reader of the page sees, gives the model orders.",
    ),
    Code("credentials.read", Category.CREDENTIALS, M, "It names a place where secrets are kept."),
    Code(
        "exfiltration.flow",
        Category.EXFILTRATION,
        H,
        "It reads secrets, or the whole environment, and sends something to another machine.",
    ),
    Code("file.archive", Category.BINARY, M, "It is an archive; what is in it was not looked at."),
    Code("file.bytecode", Category.BINARY, H, "It is compiled, so nobody can read what it does; ship the source."),
    Code("file.disguised", Category.BINARY, H, "It is named as a text, and begins as a binary."),
    Code("file.encoding", Category.BINARY, M, "It is in UTF-16, which most readers show as noise."),
    Code("file.hidden", Category.BINARY, M, "The file is hidden in most listings."),
    Code("file.link", Category.BINARY, H, "It is a symbolic link, which may lead out of the folder."),
    Code("file.nul", Category.BINARY, H, "It is named as a text, and has NULs, which hide it from readers."),
    Code("file.pickle", Category.BINARY, M, "It may run anything when it is loaded."),
    Code("file.program", Category.BINARY, H, "It is a compiled program, so nobody can read what it does."),
    Code("file.too_large", Category.BINARY, H, "It is too large to be looked through; medium for what is no program."),
    Code("obfuscation.hidden", Category.OBFUSCATION, H, "It is encoded, and hides something of high severity."),
    Code("scan.more", Category.OTHER, L, "There are more findings than a person reads."),
    Code(
        "scan.unfinished",
        Category.RESOURCES,
        H,
        "It was not looked at whole: the words that rules look for stand in it too often.",
    ),
    Code("scan.unread", Category.OTHER, M, "It could not be read, so it was not looked at, and is given to nobody."),
    Code(
        "secret.key",
        Category.SECRETS,
        H,
        "There is a key or a password in it; low when its form is not that of an issuer.",
    ),
    Code("tools.all", Category.TOOLS, M, "It asks for every command without a question."),
    Code("unicode.look_alike", Category.UNICODE, H, "It writes a word with letters of two scripts that look alike."),
    Code("unicode.no_width", Category.UNICODE, H, "It has five or more characters without width in a row."),
    Code("unicode.selectors", Category.UNICODE, H, "It hides data in variation selectors."),
    Code("unicode.tags", Category.UNICODE, H, "It hides text in tag characters."),
    Code("unicode.turned", Category.UNICODE, H, "It turns the direction of text, so that it reads other than it runs."),
)
"""What is found by other means than a `Rule`."""


def codes() -> list[Code]:
    """Return every code, each once, by name."""
    from llmos_lite.core.skills.scanning.programs import PROGRAMS  # noqa: PLC0415 - compiles its patterns
    from llmos_lite.core.skills.scanning.prose import PROSE  # noqa: PLC0415
    from llmos_lite.core.skills.scanning.shell import SHELL  # noqa: PLC0415

    ruled = {
        rule.code: Code(rule.code, rule.category, rule.severity, rule.message) for rule in (*PROSE, *SHELL, *PROGRAMS)
    }
    return sorted([*ruled.values(), *OTHERS])
