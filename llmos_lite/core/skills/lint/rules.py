"""The checks of one skill: pure functions of its text and the names of its files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import DESCRIPTION_LENGTH, Skill, estimate_tokens
from llmos_lite.core.skills.lint.codes import finding
from llmos_lite.core.skills.scan import Finding
from llmos_lite.core.skills.standard import deviations
from llmos_lite.volumes.skill_paths import FILE

MOST_LINES, MOST_TOKENS = 500, 5000
"""The standard's own advice for a SKILL.md."""
CUT_AT = 1536
"""Claude Code: description and when_to_use together."""
FIRST = 57
"""Characters that Hermes shows of a description."""
SHORTEST, LONGEST = 40, 600
LEAST_WORDS = 4
LEAST_OPENING = 3
LEAST_TEXT = 40
MOST_REFERENCES = 20

_KINDS = (
    ("standard.name", re.compile(r"\bname\b")),
    ("standard.description", re.compile(r"\bdescription\b")),
    ("standard.compatibility", re.compile(r"\bcompatibility\b")),
    ("standard.metadata", re.compile(r"\bmetadata\b")),
    ("standard.keys", re.compile(r"does not know")),
)
_WHEN = re.compile(
    r"\b(?:use(?:d|ful)? (?:this|it|when|whenever|for|if|to|before|after|during|on|in|as|only|proactively)|when(?:ever)?|triggers?|invoked?|if (?:the|a|you|some)|"
    r"asks?|asked|asking|needs?|wants?|mentions?|before|after|during|for (?:any|all|each|every|users?|tasks?|questions?|when|[a-z]{3,20}ing))\b",
    re.IGNORECASE,
)
_ONLY_WHEN = re.compile(r"(?:use (?:this|it|when|this skill)|when(?:ever)?|invoke)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_][\w'-]{2,40}")
_MOSTLY = 0.9
_ENGLISH = re.compile(
    r"\b(?:the|a|an|and|or|of|to|for|with|from|this|that|when|is|are|it|its|by|your|use|used|in|on)\b", re.IGNORECASE
)
_OTHERS = re.compile(
    r"\b(?:der|die|das|den|dem|ein|eine|einer|und|oder|nicht|ist|sind|wenn|f\u00fcr|mit|von|zu|im|zur|bei|wie|warum|le|la|les|des|une|du|et|ou|pour|avec|quand|"
    r"est|dans|que|qui|el|los|las|una|para|con|cuando|y|o|es|por|en|il|lo|gli|di|che|per|quando|e|un|del|della|os|um|uma|com|n\u00e3o|em|het|een|voor|met|"
    r"wanneer|van|och|f\u00f6r|n\u00e4r|som)\b",
    re.IGNORECASE,
)
"""Small words: which language a text is in, not what it says."""
_WIDE = 0x2E80
"""Where scripts begin whose every character says what three letters do."""
_EMPTY_WORDS = frozenset(
    [
        "the",
        "and",
        "for",
        "with",
        "that",
        "this",
        "these",
        "those",
        "your",
        "you",
        "use",
        "used",
        "uses",
        "using",
        "useful",
        "when",
        "whenever",
        "user",
        "users",
        "skill",
        "skills",
        "help",
        "helps",
        "helping",
        "helper",
        "various",
        "things",
        "thing",
        "stuff",
        "tasks",
        "task",
        "general",
        "generic",
        "many",
        "any",
        "all",
        "some",
        "other",
        "others",
        "etc",
        "work",
        "works",
        "working",
        "does",
        "doing",
        "make",
        "makes",
        "good",
        "better",
        "best",
        "tool",
        "tools",
        "assist",
        "assists",
        "assistance",
        "provide",
        "provides",
        "providing",
        "support",
        "supports",
        "handle",
        "handles",
        "handling",
        "people",
        "somebody",
        "someone",
        "wants",
        "want",
        "needs",
        "need",
        "asks",
        "ask",
        "about",
        "from",
        "into",
        "can",
        "will",
        "should",
        "would",
        "are",
        "was",
        "has",
        "have",
        "its",
        "it's",
        "something",
        "anything",
        "everything",
        "more",
        "most",
        "very",
    ]
)
_BOILER = re.compile(
    r"(?:this (?:skill|is|tool)|the skill|a (?:skill|tool|helper|guide|set)|an? (?:\w{1,14} )?skill (?:that|for|to|which)|skill (?:that|for|to|which)|"
    r"use this skill|i (?:can|will|am)|you (?:can|are|will))\b",
    re.IGNORECASE,
)
_LINK = re.compile(r"\[[^\]\n]{0,200}\]\(\s{0,3}<?([^)\s>]{1,300}+)>?[^)\n]{0,100}+\)")
_CODE_PATH = re.compile(
    r"(?<![\w/.~-])((?:scripts|references|assets|templates|resources|examples)/[\w./-]{1,200}\.[A-Za-z0-9]{1,8})\b"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}:|#|//|/|~|\$|\{|<", re.IGNORECASE)
_PLACE = re.compile(
    r"\b(?:TODO|FIXME|TBD|XXX)\b(?::|\s*$)|\blorem ipsum\b|\[(?:insert|your|add|describe|fill in)\b[^\]\n]{0,80}\](?!\()",
    re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]{0,8}(?:`{3,20}|~{3,20})", re.MULTILINE)


def lint(skill_id: str, content: bytes, files: Collection[str] = ()) -> list[Finding]:
    """Return what there is to say about one skill, without its neighbours.

    Args:
        skill_id: its id.
        content: its Markdown.
        files: the paths of the further files of its folder; no text is read.
    """
    found = list(_standard(skill_id, content))
    skill = Skill.parse(skill_id, content)
    if skill.error is not None and not skill.body:
        return found
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    start = text.count("\n") - skill.body.replace("\r\n", "\n").count("\n")
    described = _described(text)
    if described:
        found += _trigger(skill, described, _line(content, "description"))
    return [*found, *_size(skill, text), *_references(skill, files, start), *_body(skill, start)]


def _standard(skill_id: str, content: bytes) -> Iterator[Finding]:
    for said in deviations(skill_id, content):
        code = next((code for code, words in _KINDS if words.search(said)), "standard.front_matter")
        if "front matter" in said:
            code = "standard.front_matter"
        yield finding(code, said, _line(content, code.partition(".")[2]))


def _line(content: bytes, key: str) -> int:
    lines = content[:65536].decode("utf-8", "replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)


def _described(text: str) -> str:
    """Return the description as it is written; nothing when there is none, whatever a reader takes in its place."""
    try:
        block, _ = frontmatter.split(text.removeprefix("\ufeff"))
        given = frontmatter.load(block).get("description", "") if block else ""
    except frontmatter.BrokenFrontMatterError:
        return ""
    return given.strip() if isinstance(given, str) else ""


def _is_english(described: str) -> bool:
    """Tell whether the checks of words fit: not another script, and not more small words of another language."""
    described = described[:DESCRIPTION_LENGTH]
    ascii_letters = sum(char.isascii() for char in described)
    ours = len(_ENGLISH.findall(described))
    return ascii_letters > len(described) * _MOSTLY and len(_OTHERS.findall(described)) <= ours


def _trigger(skill: Skill, described: str, line: int) -> Iterator[Finding]:
    english = _is_english(described)
    words = {word.lower() for word in _WORD.findall(described)} - _EMPTY_WORDS
    if english and not _WHEN.search(described) and not skill.extra.get("when_to_use"):
        yield finding("trigger.when", 'The description does not say when to use it: add "Use when …".', line)
    if english and _ONLY_WHEN.match(described) and not re.search(r"[.;:] \S", described):
        yield finding("trigger.what", "The description says when to use it, and not what it does.", line)
    if english and len(words) < LEAST_WORDS:
        yield finding(
            "trigger.vague", "The description would fit nearly any skill: name the things that it is about.", line
        )
    elif len(described) < SHORTEST and english:
        yield finding("trigger.short", f"The description has {len(described)} characters; say what and when.", line)
    if len(described) > LONGEST:
        said = f"The description has {len(described)} characters, which every conversation pays for; the text may say more."
        yield finding("trigger.long", said, line)
    yield from _opening(described, line, english=english)
    whole = len(described) + len(str(skill.extra.get("when_to_use", "")))
    if whole > CUT_AT:
        yield finding(
            "trigger.cut",
            f"Claude Code shows {CUT_AT:,} characters of description and when_to_use; these have {whole:,}.",
            line,
        )
    if "<" in described or ">" in described:
        yield finding("trigger.brackets", "The description has < or >, which uploads to claude.ai refuse.", line)


def _opening(described: str, line: int, *, english: bool) -> Iterator[Finding]:
    first = described[:FIRST]
    telling = {word.lower() for word in _WORD.findall(first)} - _EMPTY_WORDS
    if english and len(described) > FIRST and (_BOILER.match(described) or len(telling) < LEAST_OPENING):
        yield finding("trigger.opening", f"Some clients cut after {FIRST} characters: {first!r} says little.", line)


def _size(skill: Skill, text: str) -> Iterator[Finding]:
    lines, tokens = text.count("\n") + 1, estimate_tokens(skill.body)
    if lines >= MOST_LINES:
        yield finding("size.lines", f"It has {lines:,} lines; fewer than {MOST_LINES} are advised.", lines)
    if tokens >= MOST_TOKENS:
        yield finding("size.tokens", f"Its text has about {tokens:,} tokens; fewer than {MOST_TOKENS:,} are advised.")


def _references(skill: Skill, files: Collection[str], start: int) -> Iterator[Finding]:
    there = {path.casefold() for path in files} | {FILE.casefold()}
    told: set[str] = set()
    for place, path in _named(skill.body):
        clean = path.partition("#")[0].partition("?")[0].removeprefix("./").replace("%20", " ")
        if not clean or clean in told or len(told) == MOST_REFERENCES:
            continue
        told.add(clean)
        line = start + skill.body.count("\n", 0, place) + 1
        if ".." in clean.split("/"):
            yield finding(
                "reference.outside",
                f"{clean!r} is outside the folder, and is not there where the skill is installed.",
                line,
            )
        elif clean.casefold().rstrip("/") not in there and not any(
            one.startswith(f"{clean.casefold().rstrip('/')}/") for one in there
        ):
            yield finding("reference.missing", f"There is no file {clean!r} in the folder.", line)
        elif clean.count("/") > 1:
            yield finding("reference.deep", f"{clean!r} lies deeper than one level.", line)


def _named(body: str) -> Iterator[tuple[int, str]]:
    """Yield the files that a text names: in links outside code, and under the usual folders anywhere."""
    fences = [found.start() for found in _FENCE.finditer(body)]
    for found in _links(body):
        inside = bisect_left(fences, found.start()) % 2
        if not inside and not _SCHEME.match(found.group(1)) and "." in found.group(1):
            yield found.start(), found.group(1)
    for found in _CODE_PATH.finditer(body):
        if "*" not in found.group(1) and "..." not in found.group(1):
            yield found.start(), found.group(1)


def _links(body: str) -> Iterator[re.Match[str]]:
    """Yield the links of a text: looked for from their middle, so that a thousand open brackets cost nothing."""
    middle, last = body.find("]("), 0
    while middle >= 0:
        start = body.rfind("[", max(last, middle - 200), middle)
        found = _LINK.match(body, start) if start >= 0 else None
        if found:
            yield found
        last = middle + 2
        middle = body.find("](", last)


def _body(skill: Skill, start: int) -> Iterator[Finding]:
    if sum(3 if ord(char) >= _WIDE else 1 for char in skill.body.strip()[: LEAST_TEXT + 1]) < LEAST_TEXT:
        yield finding("body.empty", "It has next to no text: say the steps, and give an example.", start + 1)
    found = _PLACE.search(skill.body)
    if found and not sum(one.start() < found.start() for one in _FENCE.finditer(skill.body)) % 2:
        line = start + skill.body.count("\n", 0, found.start()) + 1
        yield finding("body.unfinished", f"{found.group().strip()[:40]!r} was never filled in.", line)
