"""Secrets that only their name gives away: `password = …`, `"client_secret": "…"`, `--token …`, "my PIN is …".

A word of the list below calls; then the name's end, what joins it to the value, and the value are read one after the
other, each by a bounded pattern. Only the value is taken out, so that code stays readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rules
from llmos_lite.core.traces.redaction.values import is_code, is_password, is_placeholder, is_random, is_strong

PASSWORDS = (
    "passw", "passphrase", "passcode", "pwd", "kennwort", "contraseña", "contrasena", "contrasinal", "senha", "mot de passe",
    "mots de passe", "motdepasse", "mdp", "wachtwoord", "hasło", "haslo", "lösenord", "adgangskode", "пароль", "密码", "密碼", "パスワード",
    "비밀번호", "requirepass", "masterauth", "identified by", "pass", "heslo", "parola", "şifre", "clave",
)  # fmt: skip
SECRETS = (
    "secret", "token", "apikey", "api_key", "api-key", "api key", "api.key", "accesskey", "access_key", "access-key", "access key",
    "privatekey", "private_key", "private-key", "private key", "auth_key", "authkey", "auth-key", "encryptionkey",
    "encryption_key", "encryption-key", "encryption key", "signingkey", "signing_key", "signing-key", "signing key", "masterkey",
    "master_key", "master key", "accountkey", "account_key", "account key", "sharedkey", "shared_key", "shared key", "presharedkey", "preshared_key",
    "servicekey", "service_key", "service key", "licensekey", "license_key", "license key", "appkey", "app_key", "app key", "application_key", "application key",
    "adminkey", "admin_key", "admin key", "subscription-key", "subscription key", "deploy_key", "storage_key", "storage key", "storagekey",
    "webhook_key", "ingest_key", "write_key", "writekey", "_key", "credential", "schlüssel", "clé", "llave", "chiave", "sleutel", "jeton",
    "ключ", "токен", "密钥", "令牌", "fastly-key", "session_id", "sessionid", "session id", "session key", "session_key", "sessid", "connect.sid",
    "jsessionid", "_auth", '"auth', "-auth", "security-token", "nonce_secret", "otp secret", "hmac key", "hmac_key", "zugangs", " key", "cookie_key", "bearer", "creds",
)  # fmt: skip
PINS = ("pin", "otp", "cvv", "cvc", "cvv2", "tan", "verification code", "one-time code", "security code", "sicherheitscode", "bestätigungscode", "code de vérification", "código de verificación", "2fa code", "passcode")

_REST = re.compile(r"[\w.\-]{0,40}")
_NO_SECRET = re.compile(
    r"(?:^|[_\-.]|(?<=[a-z])(?=[A-Z]))(?:ids?|names?|types?|counts?|len(?:gth)?|sizes?|limits?|files?(?:name)?|paths?|dir|ur[il]s?"
    r"|endpoints?|hash(?:ed|er|es)?|fields?|labels?|polic(?:y|ies)|strength|reset|prompts?|hints?|columns?|headers?|formats?|regex|patterns?|versions?"
    r"|min|max|exp\w{0,10}|ttl|age|usage|budget|index|offset|class\w{0,4}|\w{0,3}izer|managers?|providers?|store|ref|refs|arn|rotation|required|enabled"
    r"|valid\w{0,8}|algorithm|alg|scopes?|status|placeholder|input|error|message|text|title|description|url|pairs?|lifetime|audience|issuer|stream|"
    r"location|category|metadata|mode|mount|engine|scheme|source|config|kind|keys|vault|manager|metrics|cost|price|balance|per\w*|in|out|used|shares?|exchange|derivation|agreement)$",
    re.IGNORECASE,
)
_NO_KEY = re.compile(
    r"(?:public|primary|foreign|unique|partition|sort|cache|index|hash|row|lookup|idempotency|dedup\w{0,12}|object|bucket|natural|composite|surrogate|group|"
    r"routing|config|json|dict|map|search|column|field|item|data|state|storage_class|react|query|i18n|lang|translation|locale|range|shard|s3|host|known|ssh|pub|"
    r"registry|hot|arrow|ctrl|alt|shift|enter|tab|return|escape|modifier|metric|event|message|topic|order|merge|join|parent|doc|document|file|issue|project|jira|bib|cite|citation|"
    r"next_page|page|continuation|sync|pagination|csrf_?field|skip|delta|resume|stop|bos|eos|pad|unk|sep|cls|mask|special|max|min|total|input|output|prompt|completion|num|n|cached|reasoning|"
    r"design|color|spacing|theme|typography|erc\w{0,6}|governance|utility|native|border|shadow|motion|font|non|per|dead)[\s_.\-]?$",
    re.IGNORECASE,
)
_CLOSE = r"[\\\"'`\])*}]{0,8}"
_TYPE = r"(?:\s{0,2}:\s{0,2}(?:str|String|string|&(?:'static )?str|bytes|text|Optional\[str\]|str \| None|const char ?\*|SecretStr|any)\b)?"
_SEP = re.compile(
    rf"{_CLOSE}(?:\s{{0,2}}\([^()\n]{{0,40}}\))?{_TYPE}"
    r"(?:"
    r"(?P<sure>\s{0,20}(?::=|=>|={1,3}|->|:|\+=|\?=|!=|<-|\|\||\u2192)(?:\*{1,2}(?=[\s`]))?[\s>|]{0,20}"
    r"|\s?>(?=[^<>\s])"
    r"|,?\s{0,12}[\\\"']{0,4}\bvalue[\\\"']{0,4}\s{0,4}[:=]\s{0,4}(?=[\\\"'\w])"
    r"|\s{0,3}\|\s{0,3}|\*{0,2}:\*{0,2}\s{0,20}[>*`]{0,4}\s{0,4})"
    r"|(?P<call>\s{0,3}[,(]\s{0,10}(?:\w{1,30}\(|new \w{1,30}\()?(?=[\\\"'`bfrub]))"
    r"|(?P<is>\s{0,4}(?:\s(?:is|was|are|war|ist|lautet|sind|est|es|son|è|é|to|auf|as|als|was set to|has been set to|changed to|will be|should be|now|jetzt|=|:|-|--)){1,3}"
    r"(?:\s(?:now|set to|still|just|jetzt|:|the following|this|going to be)){0,2}[:\s]{1,10}[*_]{0,2})"
    r"|(?P<far>(?:[ ,/'(][^\s.;:=\"`]{1,24}){1,8}?\)?(?:(?:\s(?:is|ist|lautet|est|es|è|to|was|auf))?\s{0,2}[:=]|\s(?:is|ist|lautet|est|es|è|to|was|auf)(?=\s))[\s*_>-]{1,8})"
    r"|(?P<gap>[ \t]{1,8})"
    r")"
)
_QUOTED = re.compile(r"[brfuBRFU@$]{0,2}(?P<q>\\{0,3}(?:\"{3}|[\"'`]))(?P<v>(?:(?!(?P=q))(?:\\.|[^\n\\])){1,2000})(?P=q)")
_BARE = re.compile(r"[^\s\"'`<>]{1,2000}")
_ENV = re.compile(r"(?:^|[\s;&|]|export |ENV |-e |--env[ =]|set |setx |\\n)[\"']?[A-Z][A-Z0-9_]{0,60}$")
_FILE = re.compile(r"/[a-z][\w.-]{0,40}/|//")
_CUT = re.compile(r"[&;,|)(\]}{\[]")
_AFTER_USER = re.compile(r"(?:user(?:name)?|login|account|e-?mail|benutzer|konto|usuario|utilisateur|nutzer)[\s:=\"']{1,4}\S{1,40}[\s,;/&]{1,4}(?:and |und |with |mit |y |et )?$", re.IGNORECASE)
_TAIL = ".,;:?)]}\\*_~|&"
_NAME = re.compile(r"[\w.\-]{0,40}$")
_LOOSE = re.compile(r"(?<![\w/+.\-])[\w+/=~.\-]{20,300}")
_REACH = re.compile(r"[^\n]*(?:[:=]\s*\n\s*[^\n]*)?")
_OTHER = re.compile(r"address|wallet|mint|public|hash|sha\d|checksum|digest|commit|\bids?\b|file|\burl\b|http", re.IGNORECASE)
_HASHES = re.compile(r"\.(?:docx?|xlsx?|pptx?|pdf|py|jsx?|tsx?|md|txt|json|ya?ml|png|jpe?g|svg|csv|html?|zip|gz|log|conf|toml|ini|sql|sh|go|rs|java|[ch]pp)$|^[0-9a-f]{32,128}$|^sha\d{1,3}-|^[0-9a-f-]{36}$")
_LOOSE_NEAR = 90
_PIN = re.compile(r"(?:[\s\w\"'`*]{0,24}?(?:\bis\b|\bist\b|\blautet\b|\best\b|\bes\b|:|=|\bnumber\b|#)|[\"'\s]{0,3})[\s\"'`*:=]{1,6}(\d{3,8}|\d{3}[ -]\d{3})(?![\w.%-]|,\d)")


class _Value(NamedTuple):
    start: int
    end: int
    quoted: bool


def password(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find what stands behind a word for a password."""
    text = look.text
    name, rest = _named(look, start, end)
    if _is_word(look, start, end) or _NO_SECRET.search(rest) or name.endswith("no-"):
        return
    join = _SEP.match(text, end + len(rest))
    if join is None or (value := _value(look, join, name + text[start:end] + rest)) is None:
        return
    said = text[value.start : value.end]
    if _is_it(said, join, value, look, start):
        yield Found(value.start, value.end, SECRET)


def _is_it(said: str, join: re.Match[str], value: _Value, look: Look, start: int) -> bool:
    if join["is"] or join["far"] or look.low.startswith("clave", start):
        return is_strong(said, least=5 if join["is"] else 6)
    if join["call"]:
        return value.quoted and is_strong(said, least=8)
    if join["gap"]:
        if _takes_argument(look, start):
            return is_password(said, quoted=True, firm=True)
        return is_strong(said) and "=" not in said and (_AFTER_USER.search(look.text, max(0, start - 60), start) is not None or _classes(said) >= 3)  # noqa: PLR2004
    if join[0].lstrip().startswith(">") and not _opens_tag(look.text, start):
        return False
    firm = _firm(look, start, join)
    return is_password(said, quoted=value.quoted, firm=firm or value.quoted)


def _opens_tag(text: str, start: int) -> bool:
    return text.rfind("<", max(0, start - 60), start) > text.rfind(">", max(0, start - 60), start)


def _classes(said: str) -> int:
    """Return how many kinds of characters a text has: small and capital letters, digits, others."""
    symbols = any(not c.isalnum() and c not in "_-./:," for c in said)
    return sum(any(map(test, said)) for test in (str.islower, str.isupper, str.isdigit)) + symbols


def _firm(look: Look, start: int, join: re.Match[str]) -> bool:
    """Tell whether a name is one of the environment, or an option."""
    return bool(_ENV.search(look.text[max(0, start - 80) : start + 1])) or look.text[max(0, start - 2) : start] == "--"


def _takes_argument(look: Look, start: int) -> bool:
    """Tell whether a name is followed by its value after a blank: `--password X`, `ENV PASSWORD X`, of netrc, of SQL."""
    before = look.text[max(0, start - 80) : start]
    line = before.rpartition("\n")[2]
    option = re.search(r"(?:^|[\s\"'`(\[])--?[\w-]{0,40}$", line) is not None
    return option or re.search(r"\b(?:ENV|ARG|login|machine|set|USER|ROLE|WITH|requirepass|CONFIG SET)\s[^\n]{0,70}$", line) is not None or look.low.startswith(("identified by", "requirepass", "masterauth"), start)  # fmt: skip


def secret(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find what stands behind a word for a key or token; it has to look drawn at random."""
    text = look.text
    start += text[start] in " \"'-"
    name, rest = _named(look, start, end)
    if _is_word(look, start, end) or _NO_SECRET.search(rest) or (_NO_KEY.search(name) and not name.isupper()):
        return
    join = _SEP.match(text, end + len(rest))
    if join and (value := _value(look, join, name + text[start:end] + rest)) is not None:
        said = text[value.start : value.end]
        if join["gap"] and not _takes_argument(look, start):
            if is_random(said, least=20) and not look.low.startswith((" key", "_key", "sig"), start):
                yield Found(value.start, value.end, SECRET)
                return
        else:
            wide = bool(join["sure"]) or bool(join["gap"])
            if is_random(said, least=12 if wide else 16) or (wide and _short(said, value, look, start)):
                yield Found(value.start, value.end, SECRET)
                return
    yield from _near(look, start, end + len(rest))


def _short(said: str, value: _Value, look: Look, start: int) -> bool:
    """Tell whether a short value is a secret that somebody made up: `JWT_SECRET=S3cr3t!`."""
    if any(c.isspace() for c in said) or look.low.startswith(("token", " key", "_key", "credential"), start):
        return False
    if look.low.startswith("secret", start) and re.fullmatch(r"[A-Za-z]{4,20}[-_.]?\d{3,8}[!?#*]?", said):
        return not is_placeholder(said)
    classes = [any(map(test, said)) for test in (str.islower, str.isupper, str.isdigit)]
    symbols = any(c in "!@#$%^&*+?~" for c in said)
    return (value.quoted or value.end - value.start > 7) and classes[2] and sum(classes) + symbols >= 3 and is_strong(said, least=8)  # noqa: PLR2004


def _near(look: Look, start: int, at: int) -> Iterator[Found]:
    """Find a random text on the same line, or on the one after a colon: "here is our API key for staging: …"."""
    if look.low.startswith(("_key", "sig", "_auth", '"auth'), start):
        return
    near = look.text[at : at + _LOOSE_NEAR]
    line = _REACH.match(near)
    for match in _LOOSE.finditer(look.text, at, at + (line.end() if line else 0)):
        if _OTHER.search(look.text, at, match.start()):
            return
        whole = _LOOSE.match(look.text, match.start())
        if look.text.startswith(("...", "\u2026"), (whole or match).end() - 3 * (whole or match)[0].endswith("...")):
            continue
        said = (whole or match)[0].rstrip(_TAIL)
        classes = (str.islower, str.isupper, str.isdigit)
        if not _HASHES.search(said) and all(any(map(test, said)) for test in classes) and is_random(said, least=20) and "/" not in said[:1]:
            yield Found(match.start(), match.start() + len(said), SECRET)
            return


def _named(look: Look, start: int, end: int) -> tuple[str, str]:
    """Return what stands before and after a word in the name that it is a part of."""
    before = _NAME.search(look.text, max(0, start - 40), start)
    after = _REST.match(look.text, end)
    return before[0] if before else "", (after[0] if after else "").rstrip(".-")


def _is_word(look: Look, start: int, end: int) -> bool:
    """Tell whether a word is only a part of another one: `tokenize`, `monkey`, `compass`, `pinned`."""
    text, low = look.text, look.low
    if start and text[start].islower() and low[start - 1].isalpha() and low[start - 1].isascii() and end - start < 6:  # noqa: PLR2004
        if not (text[start - 1].isupper() and text[start].isupper()):
            return True
    return end < len(text) and low[start:end] in ("pass", "token", "pwd", "mdp") and text[end].islower() and not (low.startswith("s", end) and low[start:end] == "token")


def _value(look: Look, join: re.Match[str], _name: str) -> _Value | None:
    text, at = look.text, join.end()
    if "->" in join[0] and ")" in join[0]:  # what a function gives back
        return None
    quoted = _QUOTED.match(text, at)
    if quoted:
        return _Value(*quoted.span("v"), quoted=True)
    bare = _BARE.match(text, at)
    if bare is None or bare[0][0] in "([{" or _FILE.match(bare[0]) or "..." in bare[0] or "\u2026" in bare[0]:
        return None
    said = bare[0]
    env = _ENV.search(text[max(0, join.start() - 80) : join.start()]) is not None
    if not env and (cut := _CUT.search(said, 1)) and (cut[0] in "&;,|" or join["sure"] is None):
        said = said[: cut.start()] if not _symbolic(said, cut.start()) else said
    if env and (cut := re.search(r";\w{1,30}=|&\w{1,30}=", said)):
        said = said[: cut.start()]
    said = re.split(r"\\[nrt]|\\\"", said)[0].rstrip(_TAIL)
    if "\n" in join[0] and not re.match(r"[ \t.,;!]{0,8}(?:\n|$)", text[at + len(said) : at + len(said) + 10]):
        return None
    return _Value(at, at + len(said), quoted=False) if said and not is_code(text[at : at + len(said) + 1]) else None


def _symbolic(said: str, at: int) -> bool:
    """Tell whether a mark at a place belongs to a password: something other than a name or a mark stands behind it."""
    return said[at] in ",|" and at + 1 < len(said) and said[at + 1].isalnum() and any(c in "!#%^$*" for c in said)


def pin(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find a PIN, a one-time code, or the three digits of a card."""
    text = look.text
    if (start and (text[start - 1].isalnum() or text[start - 1] in "_-.")) or (end < len(text) and (text[end].isalnum() or text[end] in "_-.[(")):
        return
    match = _PIN.match(text, end)
    if match:
        low = look.low[start:end]
        if len(match[1]) == 3 and low not in ("cvv", "cvc", "cvv2", "security code"):  # noqa: PLR2004 - a card's three digits
            return
        yield Found(*match.span(1), SECRET)


ASSIGNED: tuple[Rules, ...] = (Rules(PASSWORDS, password), Rules(SECRETS, secret), Rules(PINS, pin))
