"""E-mail and network addresses, dates of birth, postal addresses: data about people that a form gives away."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, Rules, ends_here, starts_here

LONGEST_LOCAL = 64
_LOCAL = re.compile(r"[\w.%+'&=~!#$*/?^{|}-]{1,64}")
_LOCAL_BACK = re.compile(r"[\w.%+\-]{1,64}")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24}|xn--[a-z0-9-]{2,40})(?![\w-]|@)")
_SPOKEN = re.compile(r"\s{0,2}[(\[{<]?\s{0,2}(?:dot|\.)\s{0,2}[)\]}>]?\s{0,2}")
_SPOKEN_DOMAIN = re.compile(
    r"[\w-]{1,63}(?:\s{0,2}[(\[{]\s{0,2}(?:dot|punkt|\.)\s{0,2}[)\]}]\s{0,2}[\w-]{1,63}){1,4}|[\w-]{1,63}\.[a-z]{2,10}"
)
_ENDINGS = frozenset(
    [
        "com",
        "net",
        "org",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "name",
        "pro",
        "aero",
        "coop",
        "museum",
        "jobs",
        "mobi",
        "travel",
        "tel",
        "asia",
        "cat",
        "post",
        "arpa",
        "app",
        "dev",
        "cloud",
        "online",
        "site",
        "shop",
        "store",
        "tech",
        "xyz",
        "email",
        "team",
        "agency",
        "digital",
        "health",
        "bank",
        "law",
        "blog",
        "page",
        "live",
        "media",
        "news",
        "group",
        "company",
        "solutions",
        "services",
        "systems",
        "software",
        "consulting",
        "design",
        "studio",
        "global",
        "world",
        "life",
        "love",
        "care",
        "clinic",
        "dental",
        "doctor",
        "legal",
        "finance",
        "money",
        "fund",
        "capital",
        "ventures",
        "partners",
        "academy",
        "school",
        "university",
        "education",
        "training",
        "institute",
        "foundation",
        "church",
        "community",
        "social",
        "berlin",
        "hamburg",
        "koeln",
        "cologne",
        "wien",
        "paris",
        "london",
        "nyc",
        "tokyo",
        "amsterdam",
        "swiss",
        "eus",
        "gal",
        "scot",
        "wales",
        "bayern",
        "ruhr",
        "saarland",
        "gmbh",
        "ltd",
        "llc",
        "inc",
        "corp",
        "internal",
        "local",
        "lan",
        "intra",
        "intranet",
        "home",
        "test",
        "example",
        "invalid",
        "localhost",
        "work",
        "works",
        "zone",
        "network",
        "center",
        "industries",
        "energy",
        "engineering",
        "construction",
        "realty",
        "homes",
        "house",
        "estate",
        "hotel",
        "restaurant",
        "cafe",
        "pizza",
        "bar",
        "beer",
        "wine",
        "coffee",
        "kitchen",
        "fitness",
        "run",
        "bike",
        "football",
        "golf",
        "photo",
        "photos",
        "photography",
        "pictures",
        "gallery",
        "art",
        "music",
        "band",
        "film",
        "movie",
        "theater",
        "games",
        "game",
        "play",
        "fun",
        "cool",
        "guru",
        "expert",
        "ninja",
        "rocks",
        "space",
        "science",
        "bio",
        "eco",
        "green",
        "organic",
        "farm",
        "garden",
        "pet",
        "dog",
        "horse",
        "vet",
        "baby",
        "kids",
        "family",
        "wedding",
        "dating",
        "singles",
        "men",
        "gay",
        "lgbt",
        "club",
        "vip",
        "gold",
        "rich",
        "money",
        "cash",
        "credit",
        "loan",
        "insurance",
        "tax",
        "accountant",
        "auction",
        "bid",
        "market",
        "marketing",
        "sale",
        "deals",
        "discount",
        "gift",
        "gifts",
        "promo",
        "win",
        "review",
        "reviews",
        "wiki",
        "click",
        "link",
        "host",
        "hosting",
        "domains",
        "directory",
        "guide",
        "help",
        "support",
        "chat",
        "video",
        "stream",
        "radio",
        "fm",
        "tv",
        "ai",
        "io",
        "me",
        "co",
        "ac",
        "ly",
        "gg",
        "so",
        "sh",
        "to",
        "im",
        "us",
        "uk",
        "eu",
    ]
)
_TWO = frozenset(
    [
        "ac",
        "ad",
        "ae",
        "af",
        "ag",
        "ai",
        "al",
        "am",
        "ao",
        "ar",
        "as",
        "at",
        "au",
        "aw",
        "ax",
        "az",
        "ba",
        "bb",
        "bd",
        "be",
        "bf",
        "bg",
        "bh",
        "bi",
        "bj",
        "bm",
        "bn",
        "bo",
        "br",
        "bs",
        "bt",
        "bw",
        "by",
        "bz",
        "ca",
        "cc",
        "cd",
        "cf",
        "cg",
        "ch",
        "ci",
        "ck",
        "cl",
        "cm",
        "cn",
        "co",
        "cr",
        "cu",
        "cv",
        "cw",
        "cx",
        "cy",
        "cz",
        "de",
        "dj",
        "dk",
        "dm",
        "do",
        "dz",
        "ec",
        "ee",
        "eg",
        "er",
        "es",
        "et",
        "eu",
        "fi",
        "fj",
        "fk",
        "fm",
        "fo",
        "fr",
        "ga",
        "gd",
        "ge",
        "gf",
        "gg",
        "gh",
        "gi",
        "gl",
        "gm",
        "gn",
        "gp",
        "gq",
        "gr",
        "gt",
        "gu",
        "gw",
        "gy",
        "hk",
        "hn",
        "hr",
        "ht",
        "hu",
        "id",
        "ie",
        "il",
        "im",
        "in",
        "io",
        "iq",
        "ir",
        "is",
        "it",
        "je",
        "jm",
        "jo",
        "jp",
        "ke",
        "kg",
        "kh",
        "ki",
        "km",
        "kn",
        "kr",
        "kw",
        "ky",
        "kz",
        "la",
        "lb",
        "lc",
        "li",
        "lk",
        "lr",
        "ls",
        "lt",
        "lu",
        "lv",
        "ly",
        "ma",
        "mc",
        "md",
        "me",
        "mg",
        "mh",
        "mk",
        "ml",
        "mm",
        "mn",
        "mo",
        "mp",
        "mq",
        "mr",
        "ms",
        "mt",
        "mu",
        "mv",
        "mw",
        "mx",
        "my",
        "mz",
        "na",
        "nc",
        "ne",
        "nf",
        "ng",
        "ni",
        "nl",
        "no",
        "np",
        "nr",
        "nu",
        "nz",
        "om",
        "pa",
        "pe",
        "pf",
        "pg",
        "ph",
        "pk",
        "pl",
        "pm",
        "pn",
        "pr",
        "ps",
        "pt",
        "pw",
        "py",
        "qa",
        "re",
        "ro",
        "rs",
        "ru",
        "rw",
        "sa",
        "sb",
        "sc",
        "sd",
        "se",
        "sg",
        "sh",
        "si",
        "sk",
        "sl",
        "sm",
        "sn",
        "so",
        "sr",
        "ss",
        "st",
        "su",
        "sv",
        "sx",
        "sy",
        "sz",
        "tc",
        "td",
        "tf",
        "tg",
        "th",
        "tj",
        "tk",
        "tl",
        "tm",
        "tn",
        "to",
        "tr",
        "tt",
        "tv",
        "tw",
        "tz",
        "ua",
        "ug",
        "uk",
        "us",
        "uy",
        "uz",
        "va",
        "vc",
        "ve",
        "vg",
        "vi",
        "vn",
        "vu",
        "wf",
        "ws",
        "ye",
        "yt",
        "za",
        "zm",
        "zw",
    ]
)
_EXAMPLES = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu|de|io|co)|example|invalid|localhost|test|domain\.(?:com|tld)|company\.com|yourdomain\.com|yourcompany\.com|mydomain\.com|email\.com|mail\.com|acme\.com|test\.com|evil\.com|target\.com|attacker\.com|victim\.com|site\.com|foo\.com|bar\.com)$"
)
_NOBODY = frozenset(
    [
        "user",
        "users",
        "username",
        "admin",
        "test",
        "tester",
        "testing",
        "foo",
        "bar",
        "baz",
        "you",
        "me",
        "your",
        "yourname",
        "name",
        "email",
        "info",
        "support",
        "contact",
        "hello",
        "example",
        "someone",
        "somebody",
        "anyone",
        "nobody",
        "postmaster",
        "webmaster",
        "root",
        "team",
        "sales",
        "dev",
        "demo",
        "mail",
        "a",
        "b",
        "c",
        "x",
        "y",
        "user1",
        "user2",
        "user3",
        "test1",
        "test2",
        "noreply",
        "no-reply",
        "donotreply",
        "do-not-reply",
        "alice",
        "bob",
        "john",
        "jane",
        "friend",
        "attacker",
        "victim",
        "victim1",
        "victim2",
        "victim3",
        "new",
        "anonymous",
        "developer",
        "colleague",
        "ceo",
        "important",
        "customer",
        "your.name",
        "your-name",
        "your.email",
        "your-email",
        "your_email",
        "youremail",
        "first.last",
        "firstname.lastname",
        "recipient",
        "sender",
        "to",
        "from",
        "owner",
        "customer",
        "client",
        "member",
        "person",
        "billing",
        "security",
        "privacy",
        "legal",
        "press",
        "abuse",
        "ops",
        "devops",
        "security-team",
    ]
)
_READERS = frozenset(
    [
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
        "your_email",
        "youremail",
        "firstname.lastname",
        "first.last",
    ]
)
"""Stand for whoever reads, wherever they are."""
_MACHINES = frozenset(
    [
        "noreply",
        "no-reply",
        "donotreply",
        "do-not-reply",
        "no_reply",
        "mailer-daemon",
        "git",
        "actions-user",
        "notifications",
        "bounce",
        "bounces",
    ]
)
_SHELL = re.compile(
    r"(?:^|[\s`$;|&(])(?:ssh|scp|sftp|rsync|mosh|ssh-copy-id|sshfs|autossh|git clone|git remote add \w+|docker -H)\s[^\n]{0,160}$"
)
_LINE = 200


def email(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an e-mail address at its `@`."""
    text = look.text
    domain = _DOMAIN.match(text, end)
    if domain is None or not _is_ending(domain[1]):
        return
    begin = _local(text, start)
    if begin == start or _is_no_mail(text, begin, domain.end()):
        return
    local, host = text[begin:start].lower(), domain[0].lower()
    if local in _MACHINES or local in _READERS or ".noreply." in host or (_EXAMPLES.search(host) and local in _NOBODY):
        return
    yield Found(begin, domain.end(), "email")


def _is_ending(ending: str) -> bool:
    low = ending.lower()
    return low in _TWO or low in _ENDINGS or low.startswith("xn--") or not low.isascii()


def _local(text: str, at: int) -> int:
    """Return where the part before the `@` begins; `at` when there is none."""
    back = _LOCAL_BACK.match(text[max(0, at - LONGEST_LOCAL) : at][::-1])
    if back is None:
        return at
    begin = at - back.end()
    while begin < at and text[begin] in ".-+%'":
        begin += 1
    if begin and text[begin - 1] == "\\" and text[begin] in "nrtu" and at - begin > 1:
        begin += 5 if text[begin] == "u" else 1
    if text[begin : begin + 3].lower() in ("%3a", "%20", "%22", "%27", "%3d", "%3c"):
        begin += 3
    return min(begin, at)


def _is_no_mail(text: str, begin: int, end: int) -> bool:
    """Tell whether `user@host` names an account on a machine: in an address, or for a shell."""
    line = text.rfind("\n", max(0, begin - _LINE), begin) + 1 or max(0, begin - _LINE)
    before = text[line:begin]
    if before.endswith("//") or re.search(r"://[^\s\"'<>/]{0,100}:?$", before):
        return True
    if (
        end < len(text)
        and text[end] == ":"
        and end + 1 < len(text)
        and (text[end + 1].isalnum() or text[end + 1] in "/~.$")
    ):
        return (
            not re.match(r":\d{0,5}(?!\w)|:[^\s@]{1,100}(?:$|\s)", text[end : end + 120])
            or text[end + 1] in "/~"
            or "/" in text[end : end + 60].split(maxsplit=1)[0]
        )
    return _SHELL.search(before) is not None


def spoken(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an address that is written out, as in `jo (at) firm (dot) org`."""
    text = look.text
    domain = _SPOKEN_DOMAIN.match(text, end + len(text[end : end + 2]) - len(text[end : end + 2].lstrip(" ")))
    stop = start
    while stop and start - stop < 2 and text[stop - 1] == " ":  # noqa: PLR2004
        stop -= 1
    begin = _local(text, stop)
    if domain and begin < stop and _is_ending(re.split(r"\W+", domain[0])[-1]):
        yield Found(begin, domain.end(), "email")


_SAID = re.compile(r"[\w.+-]{1,64}(?: dot [\w+-]{1,63}){0,3} (?:at|AT) [\w-]{1,63}(?: dot [\w-]{1,63}){0,3}$")


def said(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an address as it is spoken: `jo at firm dot com`."""
    match = _SAID.search(look.text, max(0, start - 140), start)
    if match and ends_here(look.text, end) and look.first("said", start, end):
        yield Found(match.start(), end, "email")


_V4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d|\.in-addr)")
_VERSION = re.compile(
    r"(?:\bv|[vV]ersion[\s:=\"']{0,4}|[=<>~^!]=?\s{0,2}[\"']?|[A-Za-z][\w+-]{0,40}[/@-]|\b(?:release|build|ver|rev|section|chapter|oid|upgrade\w*|update\w*|from|to)\.?[\s:=\"'(]{1,4}|\u00a7\s?|OID\W{1,3})$",
    re.IGNORECASE,
)
_IP_WORD = re.compile(
    r"(?:\bip\b|\bipv4|address|host|client|remote|peer|server|login|connect|ssh|from|to|visitor|source|src|dst)[\w\s:=\"'\[(-]{0,16}$",
    re.IGNORECASE,
)
_RESOLVERS = frozenset(
    [
        "8.8.8.8",
        "8.8.4.4",
        "1.1.1.1",
        "1.0.0.1",
        "9.9.9.9",
        "149.112.112.112",
        "208.67.222.222",
        "208.67.220.220",
        "192.0.0.8",
        "192.0.0.9",
        "192.0.0.10",
        "1.2.3.4",
        "4.3.2.1",
        "5.6.7.8",
        "1.1.1.2",
        "1.0.0.2",
        "4.2.2.1",
        "4.2.2.2",
        "169.254.169.254",
        "114.114.114.114",
    ]
)
_SMALL = 64


def ip4(text: str, start: int) -> Iterator[Found]:
    """Find a public IPv4 address where digits begin."""
    match = _V4.match(text, start)
    if match is None or (start and (text[start - 1] in "._-" or text[start - 1].isalnum())) or match[0] in _RESOLVERS:
        return
    before = text[max(0, start - 48) : start]
    named = _IP_WORD.search(before) is not None
    if _VERSION.search(before) and not re.search(
        r"(?:://|\bip\b)[\w\s:=\"']{0,12}$|(?:from|to|host|addr|address|ip|client|remote|peer)\w{0,4}[\s=:\"']{1,4}$",
        before,
        re.IGNORECASE,
    ):
        return
    numbers = [int(part) for part in match[0].split(".")]
    if max(numbers) > 255 or any(len(part) > 1 and part[0] == "0" for part in match[0].split(".")):  # noqa: PLR2004
        return
    if (max(numbers) < _SMALL and not named) or numbers[1:] == [0, 0, 0] or numbers[2:] == [0, 0] or (text[match.end() : match.end() + 1] == "/" and text[match.end() + 1 : match.end() + 3] not in ("32",) and text[match.end() + 1 : match.end() + 2].isdigit()):  # fmt: skip
        return
    if ipaddress.IPv4Address(match[0]).is_global and numbers[0] < 224:  # noqa: PLR2004 - above is multicast
        yield Found(*match.span(), "ip")


_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_DASHES = re.compile(r"-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-")
_V6 = re.compile(r"[0-9a-fA-F:]{2,39}(?:\.\d{1,3}){0,3}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}(?![:\w-])|[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}(?![-\w:])")
_HEX_BACK = re.compile(r"[0-9a-fA-F:]{0,39}")
_DASH_BACK = re.compile(r"[0-9a-fA-F-]{0,17}")


def machines(text: str) -> Iterator[Found]:
    """Find public IPv6 addresses and MAC addresses."""
    end = 0
    for match in _COLONS.finditer(text):
        if match.start() < end:
            continue
        back = _HEX_BACK.match(text[max(0, match.start() - 39) : match.start()][::-1])
        begin = match.start() - (back.end() if back else 0)
        whole = _V6.match(text, begin)
        if whole is None or not starts_here(text, begin):
            continue
        end = whole.end()
        yield from _mac(text, begin) or _ip6(
            text, begin, whole[0].rstrip(".:") if not whole[0].endswith("::") else whole[0]
        )
    for match in _DASHES.finditer(text):
        if match.start() >= end and match.start() >= 2:  # noqa: PLR2004
            end = match.end()
            yield from _mac(text, match.start() - 2)


def _mac(text: str, begin: int) -> list[Found]:
    match = _MAC.match(text, begin)
    if (
        match is None
        or not starts_here(text, begin)
        or (begin and text[begin - 1] in ":-")
        or len(set(match[0][::3] + match[0][1::3])) < 3
        or int(match[0][1], 16) % 2
    ):
        return []
    return [Found(*match.span(), "mac")]


def _ip6(text: str, begin: int, said: str) -> list[Found]:
    after = text[begin + len(said) : begin + len(said) + 1]
    if said.count(":") < 2 or after.isalnum() or after == "_" or (begin and text[begin - 1] in "_.$"):  # noqa: PLR2004
        return []
    try:
        ip = ipaddress.IPv6Address(said)
    except ValueError:
        return []
    if (
        not ip.is_global
        or said.lower().startswith("64:ff9b")
        or re.match(r"/(?!64\b|128\b)\d", text[begin + len(said) : begin + len(said) + 4])
        or said.lower().startswith("ffff:")
        or sum(map(bool, said.split(":"))) < 3
        or not any(c.isdigit() for c in said)
    ):
        return []
    return [Found(begin, begin + len(said), "ip")]


_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]|januar|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)\w{0,8}\.?"
_DATE = re.compile(
    rf"[\s\"'`*:=|(\\]{{0,8}}(?:(?:is|was|ist|war|est|es|on|am|le|el|the)\s{{1,2}}){{0,2}}[\"'`*]{{0,2}}("
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\s?\d{{1,2}}[-/.]\s?\d{{2,4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.)?\s(?:of\s|de\s)?{_MONTH},?\s(?:de\s)?\d{{4}}|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})(?!\d)",
    re.IGNORECASE,
)


def birth(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find a date of birth behind the words that say so."""
    match = _DATE.match(look.text, end)
    if match:
        yield Found(*match.span(1), "birthdate")


_KIND = r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Boulevard|Blvd|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Close|Crescent|Gardens|Grove|Parkway|Pkwy|Circle|Highway|Hwy)"
_STREET = re.compile(
    rf"\d{{1,5}}[A-Za-z]?(?:-\d{{1,4}})?,?\s(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West|Old|Upper|Lower)\.?\s)?(?:[A-Z][a-z'’]{{1,20}}\s|\d{{1,3}}(?:st|nd|rd|th)\s){{1,3}}{_KIND}\b\.?(?:\s(?:NW|NE|SW|SE|N|S|E|W)\b)?"
    r"(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\.?\s?\w{1,6})?"
    r"(?:,\s[A-Z][A-Za-z .'-]{2,30})?(?:,?\s(?:[A-Z]{2}\s\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}))?"
)
_STRASSE = re.compile(
    r"[A-ZÄÖÜ][\wäöüß.-]{1,30}(?:\s[A-ZÄÖÜ][\wäöüß.-]{1,30})?[ -]?(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|[Gg]asse|[Uu]fer|[Dd]amm)\s\d{1,4}\s?[a-z]?(?![\w.])(?:,?\s{1,2}(?:D-|A-|CH-)?\d{4,5}\s[A-ZÄÖÜ][\wäöüß]{2,30})?"
)
_RUE = re.compile(
    r"\d{1,4}(?:\s(?:bis|ter))?,?\s(?:rue|avenue|boulevard|place|chemin|impasse|all[ée]e|quai)\s(?:(?:de|du|des|la|le|l'|d'|les)\s?){0,3}[A-ZÉÈ][\w'éèêàçôî-]{1,30}(?:\s[A-ZÉÈ][\wéèêàçôî'-]{1,30}){0,3}(?:,?\s\d{5}\s[A-ZÉ][\wéèêàç-]{2,30})?"
    r"|(?:[Cc]alle|[Aa]venida|[Pp]laza|[Pp]aseo)\s(?:de\s|del\s|la\s|los\s){0,3}[A-ZÁÉÍÓÚ][\wáéíóúñ]{1,30}(?:\s[A-ZÁÉÍÓÚ][\wáéíóúñ]{1,30}){0,3},?\s(?:n[ºo°.]{1,2}\s?)?\d{1,4}(?:,\s\d{5}\s[A-ZÁÉÍÓÚ][\wáéíóúñ]{2,30})?"
)
_FOUNDATION = re.compile(r"51 Franklin|Temple Place|675 Mass")
"""Stands in every copy of a licence."""
_BEFORE, _BEHIND = 60, 100


def postal(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find a street with its number, and the place behind it."""
    for pattern in (_STREET, _STRASSE, _RUE):
        for match in pattern.finditer(look.text, max(look.until("street"), start - _BEFORE), end + _BEHIND):
            if match.start() <= start and match.end() >= end and not _FOUNDATION.search(match[0]):
                if look.first("street", match.start(), match.end()):
                    yield Found(*match.span(), "address")
                return


PEOPLE: tuple[Rules, ...] = (
    Rules(("@", "%40", "&#64;", "\\u0040"), email),
    Rules(("(at)", "[at]", "{at}"), spoken),
    Rules((" dot com", " dot org", " dot net", " dot de", " dot io", " dot edu", " dot fr", " dot co"), said),
    Rules(("born on", "born:", "date of birth", "dateofbirth", "date_of_birth", "birthdate", "birth_date", "birth date", "birthday", "dob", "d.o.b.", "geboren am", "geburtsdatum", "geb. am", "geb.", "né le", "née le", "date de naissance", "nacido el", "nacida el", "fecha de nacimiento", "nato il", "nata il", "data di nascita", "data de nascimento", "geboortedatum"), birth),
    Rules((" street", " avenue", " ave", " road", " lane", " boulevard", " blvd", " drive", " court", " st,", " st.", " st\n", " rd", " terrace", " crescent", " parkway", "straße", "strasse", "str. ", "weg ", "platz ", "allee ", "gasse ", " rue ", " avenue ", "calle ", "avenida ", "chemin ", "quai "), postal),
)  # fmt: skip
