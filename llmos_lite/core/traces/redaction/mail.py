"""E-mail addresses, written with `@`, as `%40`, or spoken; accounts on machines are none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, Rules, ends_here

LONGEST_LOCAL = 64
LINE = 200

_COUNTRIES = """
ac ad ae af ag ai al am ao ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf cg
ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh
gi gl gm gn gp gq gr gt gu gw gy hk hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kr kw ky
kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng
ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm
sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu
wf ws ye yt za zm zw
"""
_OTHERS = """
academy accountant aero agency amsterdam app arpa art asia auction baby band bank bar bayern beer berlin bid bike
bio biz blog cafe capital care cash cat center chat church click clinic cloud club coffee cologne com community
company construction consulting cool coop corp credit dating deals dental design dev digital directory discount
doctor dog domains eco edu education email energy engineering estate eus example expert family farm film finance
fitness football foundation fun fund gal gallery game games garden gay gift gifts global gmbh gold golf gov green
group guide guru hamburg health help home homes horse host hosting hotel house inc industries info institute
insurance int internal intra intranet invalid jobs kids kitchen koeln lan law legal lgbt life link live llc loan
local localhost london love ltd market marketing media men mil mobi money movie museum music name net network news
ninja nyc online org organic page paris partners pet photo photography photos pictures pizza play post pro promo
radio realty restaurant review reviews rich rocks ruhr run saarland sale school science scot services shop singles
site social software solutions space store stream studio support swiss systems tax team tech tel test theater tokyo
training travel university ventures vet video vip wales wedding wien wiki win wine work works world xyz zone
"""
ENDINGS = frozenset(f"{_COUNTRIES} {_OTHERS}".split())
"""Last parts of domains; `weights` of `x@model.weights` is none."""
_NOBODY_IN_PARTICULAR = """
a abuse admin anonymous anyone attacker b bar baz billing c ceo client colleague contact customer demo dev
developer devops do-not-reply donotreply email example first.last firstname.lastname foo from hello important
info legal mail me member name new no-reply nobody noreply ops owner person postmaster press privacy
recipient root sales security security-team sender somebody someone support team test test1 test2 tester testing to
user user1 user2 user3 username users victim victim1 victim2 victim3 webmaster x y you your your-email your-name
your.email your.name your_email youremail yourname
"""
NOBODY = frozenset(_NOBODY_IN_PARTICULAR.split())
"""Names that stand for nobody at the domains of examples."""
FIRST_NAMES = frozenset(("alice", "bob", "john", "jane", "eve", "carol", "dave", "friend"))
"""Nobody in particular at the domains that are kept for examples, and somebody anywhere else."""
READERS = frozenset(
    (
        *(
            "user",
            "username",
            "you",
            "your",
            "yourname",
            "your.name",
            "your-name",
            "your_name",
            "your.email",
            "your-email",
        ),
        *("your_email", "youremail", "firstname.lastname", "first.last"),
    )
)
"""Names that stand for whoever reads, wherever they are."""
MACHINES = frozenset(
    (
        *("noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "mailer-daemon", "git", "actions-user"),
        *("notifications", "bounce", "bounces"),
    )
)
"""Names that nobody reads the mail of."""
_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|invalid|localhost|test)$")
_EXAMPLES = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu|de|io|co)|example|invalid|localhost|test|domain\.(?:com|tld)|company\.com"
    r"|yourdomain\.com|yourcompany\.com|mydomain\.com|e?mail\.com|acme\.com|test\.com|evil\.com|target\.com"
    r"|attacker\.com|victim\.com|site\.com|foo\.com|bar\.com)$"
)
_BACK = re.compile(rf"[\w.%+\-]{{1,{LONGEST_LOCAL}}}")
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24}|xn--[a-z0-9-]{2,40})(?![\w-]|@)",
)
_SPOKEN = re.compile(
    r" {0,2}([\w-]{1,63}(?:\s{0,2}[(\[{]\s{0,2}(?:dot|punkt|\.)\s{0,2}[)\]}]\s{0,2}[\w-]{1,63}){1,4}"
    r"|[\w-]{1,63}\.[a-z]{2,10})"
)
_SAID = re.compile(r"[\w.+-]{1,64}(?: dot [\w+-]{1,63}){0,3} (?:at|AT) [\w-]{1,63}(?: dot [\w-]{1,63}){0,3}$")
_SHELL = re.compile(
    r"(?:^|[\s`$;|&(])(?:ssh|scp|sftp|rsync|mosh|ssh-copy-id|sshfs|autossh|git clone|git remote add \w+|docker -H)\s"
    r"[^\n]{0,160}$"
)
_USERINFO = re.compile(r"://[^\s\"'<>/]{0,100}:?$")
_PORT = re.compile(r":\d{0,5}(?!\w)|:[^\s@]{1,100}(?:$|\s)")
_ESCAPED = ("%3a", "%20", "%22", "%27", "%3d", "%3c")


def email(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an e-mail address at its `@`."""
    text = look.text
    domain = _DOMAIN.match(text, end)
    if domain is None or not _is_ending(domain[1]):
        return
    begin = _local(text, start)
    if begin == start or _is_account(text, begin, domain.end()):
        return
    if not _is_nobody(text[begin:start].lower(), domain[0].lower()):
        yield Found(begin, domain.end(), "email")


def _is_nobody(local: str, host: str) -> bool:
    if local in MACHINES or local in READERS or ".noreply." in host:
        return True
    if local in FIRST_NAMES:
        return _RESERVED.search(host) is not None
    return local in NOBODY and _EXAMPLES.search(host) is not None


def _is_ending(ending: str) -> bool:
    low = ending.lower()
    return low in ENDINGS or low.startswith("xn--") or not low.isascii()


def _local(text: str, at: int) -> int:
    """Return where the part before the `@` begins; `at` when there is none."""
    back = _BACK.match(text[max(0, at - LONGEST_LOCAL) : at][::-1])
    if back is None:
        return at
    begin = at - back.end()
    while begin < at and text[begin] in ".-+%'":
        begin += 1
    if begin and text[begin - 1] == "\\" and text[begin : begin + 1] in tuple("nrt") and at - begin > 1:
        begin += 1  # the letter of an escape
    if text[begin - 1 : begin + 2].lower() in _ESCAPED:
        begin += 2
    return min(begin, at)


def _is_account(text: str, begin: int, end: int) -> bool:
    """Tell whether `user@host` names an account on a machine: in an address, or for a shell."""
    line = text.rfind("\n", max(0, begin - LINE), begin) + 1 or max(0, begin - LINE)
    before = text[line:begin]
    if before.endswith("//") or _USERINFO.search(before) or _SHELL.search(before):
        return True
    after = text[end : end + 120]
    if not after.startswith(":") or not (after[1:2].isalnum() or after[1:2] in tuple("/~.$")):
        return False
    return not _PORT.match(after) or after[1] in "/~" or "/" in after[:60].split()[0]


def bracketed(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an address that hides its `@`, as in `jo (at) firm (dot) org`."""
    domain = _SPOKEN.match(look.text, end)
    stop = len(look.text[:start].rstrip(" ")) if look.text[start - 3 : start].strip() else start
    begin = _local(look.text, stop)
    if domain and begin < stop and _is_ending(re.split(r"\W+", domain[1])[-1]):
        yield Found(begin, domain.end(), "email")


def said(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an address as it is spoken: `jo at firm dot com`."""
    match = _SAID.search(look.text, max(0, start - 140), start)
    if match and ends_here(look.text, end) and look.first("said", start, end):
        yield Found(match.start(), end, "email")


MAIL: tuple[Rules, ...] = (
    Rules(("@", "%40"), email),
    Rules(("(at)", "[at]", "{at}"), bracketed),
    Rules((" dot com", " dot org", " dot net", " dot de", " dot io", " dot edu", " dot fr", " dot co"), said),
)
