"""Keys and tokens that say what they are: by a prefix that their issuer gave them, or by their form.

The forms are those that issuers document and public scanners look for, with lengths left a little open: an issuer
changes a length sooner than a prefix. What is only a placeholder is kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from itertools import compress, pairwise

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rule, Rules, ends_here, starts_here
from llmos_lite.core.traces.redaction.values import is_random

LEAST_KINDS = 6
"""A body of fewer different characters was typed, not drawn."""
MANY_KINDS = 20
"""A body without marks that has so many is no word."""

# What comes after a prefix, and the prefixes that it comes after, as they are written.
SHAPES: tuple[tuple[str, str], ...] = (
    (r"[A-Za-z0-9]{30,255}", "ghp_ gho_ ghu_ ghr_ npm_ lin_api_ lin_oauth_ sbp_ gsk_ pplx- phc_ phx_ pnu_ nfp_ r8_"),
    (r"[\w.-]{30,600}", "ghs_"),
    (r"\w{30,255}", "github_pat_ lsv2_pt_ lsv2_sk_ ccipat_ wandb_v1_ hcaik_"),
    (r"[\w.-]{18,320}", "glpat- glrt- glcbt- glagent-"),
    (r"[\w-]{18,90}", "gldt- glptt- glsoat- glft- glimt- gloas- glffct- GR1348941"),
    (r"[\w=-]{40,260}", "ATATT ATCTT duffel_live_ duffel_test_ fio-u- dnkey-"),
    (r"[A-Za-z0-9]{20,80}", "hf_ api_org_ ATBB whsec_ AIK_CI_ AIK_SECRET_ esecret_ rnd_ tvly-dev- tvly-prod-"),
    (
        r"[\w-]{20,260}",
        "sk-ant- sk-proj- sk-svcacct- sk-admin- sk-or- sk-lf- sk- xapp- sb_secret_ dckr_pat_ dckr_oat_ llmos_",
    ),
    (r"[\w-]{30,200}", "nvapi- xai- tgp_v1_ pcsk_ jina_ figd_ figo_ sntryu_ sntrys_ scw_ fo1_ hrku- HRKU-"),
    (r"[\w-]{33,60}", "AIza"),
    (r"[\w.-]{20,2000}", "ya29."),
    (r"[\w-]{20,60}", "GOCSPX- tskey- sq0atp- sq0csp-"),
    (r"[A-Za-z0-9+/]{80,280}={0,2}", "ABSK"),
    (r"[A-Za-z0-9]{12,24}", "LTAI rzp_live_ rzp_test_"),
    (r"[0-9a-fA-F]{40,80}", "dop_v1_ doo_v1_ dor_v1_ rubygems_ bkua_ squ_ sqp_ sqa_ pul- shippo_live_ shippo_test_"),
    (r"[\w+/=,-]{80,2000}", "fm1r_ fm1a_ fm2_"),
    (r"[\w.=-]{30,70}", "pscale_tkn_ pscale_pw_ pscale_oauth_ tfp_"),
    (r"[0-9a-f]{20,30}-[0-9a-f]{100,160}", "v1.0-"),
    (r"[\w%/+=.-]{10,400}", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxc- xoxd- xoxe- xoxe.xoxb- xoxe.xoxp-"),
    (r"[\w-]{16,40}\.[\w-]{20,80}", "SG."),
    (r"[0-9a-f]{40,80}-[A-Za-z0-9]{8,30}", "xkeysib- xsmtpsib-"),
    (r"[A-Za-z0-9]{6,12}_[A-Za-z0-9]{16,40}", "re_"),
    (r"[0-9a-f]{32}(?![A-Za-z0-9])", "key- dapi"),
    (r"[A-Za-z0-9]{10,260}", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_"),
    (r"[\w-]{40,80}", "EAAA sha256~ sl.u. sgp_"),
    (r"[0-9a-z]{16}\$[0-9a-f]{32}", "access_token$production$ access_token$sandbox$"),
    (r"[0-9a-fA-F]{28,40}", "shpat_ shpca_ shppa_ shpss_ shptka_ shpua_"),
    (r"[\w-]{12,60}", "FLWSECK_TEST- FLWSECK- FLWSECK_LIVE-"),
    (r"[0-9a-f-]{36}", "access-sandbox- access-development- access-production-"),
    (r"[A-Za-z0-9]{50,60}", "EZAK EZTK CLOJARS_"),
    (r"[\w-]{40,1500}", "pypi-Ag sl."),
    (r"[a-z0-9]{43}(?![A-Za-z0-9])", "oy2"),
    (r"[A-Za-z0-9]{50,90}", "AKCp cmVmd rdme_ mlsn."),
    (r"[A-Z0-9]{25,32}(?![A-Za-z0-9])", "API-"),
    (r"[\w-]{20,24}\.[A-Za-z0-9]{22,26}\.[A-Za-z0-9]{18,22}", "pat. sat."),
    (r"[A-Za-z0-9]{30,34}_[0-9a-fA-F]{8}", "glsa_"),
    (r"[A-Za-z0-9+/=]{30,400}", "glc_"),
    (r"[A-Za-z0-9-]{16,40}", "NRAK- NRII- NRJS- NRAL-"),
    (r"[A-Z0-9]{20,28}\.[A-Z0-9]{50,70}", "dt0c01. dt0s01."),
    (r"[A-Za-z0-9]{40,60}", "ntn_ secret_"),
    (r"[0-9a-f]{20,28}-[0-9a-f]{30,38}", "PMAK-"),
    (r"[\w-]{20,320}", "hvs. hvb. hvr."),
    (r"[\w.-]{36,80}", "dp.pt. dp.st. dp.sa. dp.ct. dp.scim."),
    (r"[A-Z0-9]{6}-[A-Z0-9]{5,6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?:-[A-Z0-9]{5})?", "A3-"),
    (r"[\w+/=-]{80,2000}", "ops_eyJ"),
    (r"[A-Za-z0-9]{40,70}", "AGE-SECRET-KEY-1 AGE-SECRET-KEY-PQ-1"),
    (r"[A-Za-z0-9]{80,400}", "EAA"),
    (r"[a-z0-9]{32}(?![A-Za-z0-9])", "p8e- ico-"),
    (r"[A-Za-z0-9]{16}(?![A-Za-z0-9])", "sm_aat_ sm_pat_ sm_sat_"),
    (r"[\w-]{43,60}", "tk-us- tk-eu-"),
    (r"[A-Za-z0-9+/]{60,400}={0,2}", "eyJrIjoi"),
    (r"[\w-]{20,200}", "1//0"),
    (r"[1-9A-HJ-NP-Za-km-z]{80,120}", "xprv yprv zprv tprv"),
)

_AWS_ID = re.compile(r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,20}(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(r"(?<![\w/+])[A-Za-z0-9/+]{40}(?![\w/+=])")
_AWS_NEAR = 300
_JWT = re.compile(r"eyJ[\w-]{8,4000}\.[\w-]{4,8000}(?:\.[\w-]{0,4000}){0,3}")
_TYPED = re.compile(r"x{5}|your|placeholder|[-_]here$|\.{3}|1234567890abcdef1234567890abcdef12345678", re.IGNORECASE)

# Forms that have no prefix: the word that stands in them, how far before it they may begin, and the whole form.
FORMS: tuple[tuple[str, int, str], ...] = (
    ("q~", 4, r"[\w~.-]{3}\dQ~[\w~.-]{31,36}"),
    ("-us", 32, r"[0-9a-f]{32}-us\d{1,2}(?!\d)"),
    (".atlasv1.", 14, r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{50,80}"),
    ("azdo", 84, r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}"),
    (":apa91b", 11, r"[\w-]{11}:APA91b[\w-]{80,180}"),
    ("_mmk", 36, r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"),
)
# Addresses that are keys: what comes after them is taken out.
HOOKS: tuple[tuple[str, str], ...] = (
    ("hooks.slack.com/", r"(?:services|workflows|triggers)/([\w/+-]{16,120})"),
    ("discord.com/api/webhooks/", r"(\d{16,22}/[\w-]{30,120})"),
    ("discordapp.com/api/webhooks/", r"(\d{16,22}/[\w-]{30,120})"),
    ("webhook.office.com/", r"([\w@/-]{40,300})"),
    ("outlook.office.com/webhook/", r"([\w@/-]{40,300})"),
    ("hooks.zapier.com/hooks/catch/", r"([\w/]{8,60})"),
    ("hook.make.com/", r"(\w{20,60})"),
    ("api.telegram.org/bot", r"(\d{6,12}:[\w-]{30,50})"),
)

# Forms without any word of their own, looked for in long words alone.
LONG = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F]))(?:"
    r"(?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])"
    r"|[MNO][A-Za-z\d_-]{22,28}\.[\w-]{6,7}\.[\w-]{27,45}(?![\w-])"
    r"|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}(?![A-Za-z0-9])"
    r"|\d{8,10}:AA[\w-]{32,34}(?![\w-])"
    r"|[a-z0-9]{1,20}\.[a-z0-9]{1,20}\.acc[_-][a-z0-9-]{10,32}\.[\w+/=-]{30,120}"
    r")"
)
LONG_WORD = 34


def long_words(look: Look) -> Iterator[Found]:
    """Find the forms that no word announces."""
    text, at = look.text, 0
    if not _may_be_long(text):
        return
    words = text.split()
    for word in compress(words, map(LONG_WORD.__le__, map(len, words))):
        at = text.index(word, at)
        for match in LONG.finditer(text, at, at + len(word)):
            if len(set(match[0])) > LEAST_KINDS:
                yield Found(*match.span(), SECRET)
        at += len(word)


def _may_be_long(text: str) -> bool:
    """Tell whether there is room for a long word between two blanks; to split the text costs three times as much."""
    at, last = 0, len(text) - LONG_WORD
    while at <= last:
        blank = text.rfind(" ", at, at + LONG_WORD)
        if blank < 0:
            return True
        at = blank + 1
    return False


def prefixed(shapes: Iterable[tuple[str, str]] = SHAPES) -> list[Rules]:
    """Return the rules of the prefixes."""
    rules: dict[str, list[re.Pattern[str]]] = {}
    for body, prefixes in shapes:
        for prefix in prefixes.split():
            rules.setdefault(prefix.lower(), []).append(re.compile(f"{re.escape(prefix)}(?P<body>{body})"))
    return [Rules((prefix,), _matcher(patterns)) for prefix, patterns in rules.items()]


def _matcher(patterns: list[re.Pattern[str]]) -> Rule:
    def rule(look: Look, start: int, _end: int) -> Iterator[Found]:
        if start < look.done or not starts_here(look.text, start):
            return
        for pattern in patterns:
            match = pattern.match(look.text, start)
            if match:
                look.done = match.end()
                if _drawn(match["body"]):
                    yield Found(*match.span(), SECRET)
                return

    return rule


def _drawn(body: str) -> bool:
    """Tell whether a body was drawn, and not typed as a placeholder or as words."""
    if len(set(body)) < LEAST_KINDS or _TYPED.search(body):
        return False
    if body.isalnum() and len(set(body)) >= MANY_KINDS:
        return True
    turns = sum(one.isupper() != other.isupper() for one, other in pairwise(body))
    return any(map(str.isdigit, body)) or turns > len(body) // 5


def aws(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the id of an AWS key, and the key when it stands behind it."""
    match = _AWS_ID.match(look.text, start)
    if match is None or not starts_here(look.text, start):
        return
    yield Found(*match.span(), SECRET)
    for near in _AWS_SECRET.finditer(look.text, match.end(), match.end() + _AWS_NEAR):
        if is_random(near[0]) or near[0].endswith("EXAMPLEKEY"):
            yield Found(*near.span(), SECRET)


def jwt(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find a JSON Web Token, signed or encrypted."""
    if start < look.done or not starts_here(look.text, start):
        return
    match = _JWT.match(look.text, start)
    if match is None:
        return
    look.done = match.end()
    if decoded(match[0][:40].partition(".")[0]).startswith(b'{"'):
        yield Found(*match.span(), SECRET)


def decoded(text: str) -> bytes:
    """Return what base64 text says, as far as it can be read; nothing when it is none."""
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    text = text[:-1] if len(text) % 4 == 1 else text  # cut off in the middle
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _form(before: int, form: str) -> Rule:
    pattern = re.compile(form)

    def rule(look: Look, start: int, _end: int) -> Iterator[Found]:
        begin = start - before
        if begin >= 0 and (match := pattern.match(look.text, begin)) and starts_here(look.text, begin):
            yield Found(*match.span(), SECRET)

    return rule


def _hook(form: str) -> Rule:
    pattern = re.compile(form)

    def rule(look: Look, _start: int, end: int) -> Iterator[Found]:
        if (match := pattern.match(look.text, end)) and ends_here(look.text, match.end()) and _drawn(match[1]):
            yield Found(*match.span(1), SECRET)

    return rule


TOKENS: tuple[Rules, ...] = (
    *prefixed(),
    *(Rules((word,), _form(before, form)) for word, before, form in FORMS),
    *(Rules((word,), _hook(form)) for word, form in HOOKS),
    Rules(("akia", "asia", "abia", "acca"), aws),
    Rules(("eyj",), jwt),
)
