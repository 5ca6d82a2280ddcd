"""How much a match counts where it stands: words that are quoted, refused or explained are no attack.

What is lowered is still shown; it no longer blocks. Nothing that hides itself is ever lowered.
"""

from __future__ import annotations

import re

from llmos_lite.core.skills.scan import Category, Severity
from llmos_lite.core.skills.scanning.rule import Kind, Match
from llmos_lite.core.skills.scanning.shown import Shown

_SUBJECT = re.compile(
    r"security|secur(?:e|ing)\b|injection|jailbreak|red[- ]team|pentest|penetration|attack|threat|malware|forensic|incident|vulnerab|exploit|"
    r"adversar|detect|\bctf\b|hardening|phishing|guardrail|moderation|\baudit|hunt|\bsoc\b|\bedr\b|\bsiem\b|offensive|privilege|payload"
)
_STUDY = re.compile(
    r"\b(?:review|detect|audit|analy[sz]|scan|test|investigat|defen[ds]|protect|harden|prevent|hunt|respon[ds]|teach|learn|train|check|assess|simulat|"
    r"secur|evaluat|identif|monitor|triage|mitigat|model)"
)
_TALK = re.compile(
    r"injection|jailbreak|attack|malicious|suspicious|adversar|hostile|untrusted|e\.g\.|\bexamples?\b(?![./])|such as|phrases?|patterns?|attempts?|detect|flag|"
    r"red flag|reject|refuse|scan|hidden instructions|social engineering|anti-pattern|contains?|looks? like|says?|pressure|excuse|rationali[sz]"
)
_REFUSED = re.compile(
    r"(?:\b(?:never|do not|don't|dont|must not|should not|shouldn't|mustn't|cannot|can't|avoid|refuses? to|refusing to|no|not|without|prevents?|blocks?|"
    r"rejects?|stop(?:s|ped)?|instead of|rather than|resists?|attempts? (?:to|at)|tries to|trying to|asks? (?:you |it |the (?:model|agent) )?to|"
    r"tells? (?:you |it |the (?:model|agent) )?to|wants? you to|requests? to|prohibited|forbidden|unsafe)\b[^.!?\n]{0,50}|[\u274c\u2717\u26d4\U0001f6ab][^\n]{0,60})$"
)
_NOT_REFUSED = re.compile(r"\b(?:forget|fail|hesitate|omit|neglect)\b")
"""What turns a refusal into an order: never forget to."""
_LEAD = re.compile(
    r"\b(?:not|never|avoid|refuse|don't|forbidden|anti|reject|out of scope|boundar|guardrail|red flags?|prohibited|attack|threat|injection|untrusted)"
)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u300c"
_NEAR = 500


def weighed(match: Match, shown: Shown, *, about_attacks: bool) -> Severity:
    """Return the severity of a match.

    Args:
        match: the match.
        shown: its file.
        about_attacks: whether the skill says that attacks are its subject.
    """
    rule = match.rule
    if rule.kind is Kind.FACT or rule.severity is Severity.LOW:
        return rule.severity
    before, after = shown.around(match.start, match.end)
    if rule.known is not None and rule.known.search(shown.low, match.start, match.end + len(after[:200])):
        return Severity.MEDIUM
    if rule.kind is Kind.ADVICE:
        return _of_advice(match, shown, before, after, about_attacks=about_attacks)
    return _of_command(match, shown, before, about_attacks=about_attacks)


def _of_advice(match: Match, shown: Shown, before: str, after: str, *, about_attacks: bool) -> Severity:
    quoted = not match.rule.near and _is_quoted(before, after)  # a path in backticks is no quotation
    refused = _is_refused(before)
    near = shown.low[max(0, match.start - _NEAR) : match.start] + after
    talked = about_attacks or _TALK.search(near) is not None
    if refused or (quoted and talked):
        return Severity.LOW
    lowered = quoted or _is_led_in(near) or (about_attacks and shown.in_code(match.start))
    return Severity.MEDIUM if lowered and match.rule.severity is Severity.HIGH else match.rule.severity


def _of_command(match: Match, shown: Shown, before: str, *, about_attacks: bool) -> Severity:
    if not shown.markdown:
        return match.rule.severity
    if match.rule.category is Category.CODE or _is_refused(before):
        return Severity.LOW
    talked = about_attacks or _TALK.search(before[-120:]) is not None
    return Severity.MEDIUM if talked and match.rule.severity is Severity.HIGH else match.rule.severity


def _is_refused(before: str) -> bool:
    found = _REFUSED.search(before)
    return found is not None and not _NOT_REFUSED.search(found.group())


def _is_quoted(before: str, after: str) -> bool:
    """Tell whether a match stands in quotes, or in the cell of a table."""
    opened = next((char for char in reversed(before[-60:]) if char in _QUOTES), "")
    closed = any(char in _QUOTES for char in after[:120])
    return (bool(opened) and closed and not before.rstrip().endswith((".", ":"))) or (
        before.lstrip().startswith("|") and "|" in after
    )


def _is_led_in(near: str) -> bool:
    """Tell whether the last heading, or line that ends with a colon, says that what follows is not to be done."""
    leads = [line for line in near.split("\n")[:-1] if line.startswith("##") or line.rstrip().rstrip("*").endswith(":")]
    return bool(leads) and _LEAD.search(leads[-1]) is not None


def is_about_attacks(description: str) -> bool:
    """Tell whether a skill says of itself that it studies attacks or guards against them."""
    low = description.lower()
    return _SUBJECT.search(low) is not None and _STUDY.search(low) is not None
