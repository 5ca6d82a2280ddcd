"""Whether a text that stands where a secret could stand is one: placeholders, names and expressions are not.

A random text changes the class of its characters (small, capital, digit) at every second step, a word hardly ever:
62 letters and digits at random do so at 0.45 of the steps (from a capital to a small letter aside, as words begin),
hexadecimal digits at 0.47, identifiers at 0.05 to 0.2.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log2

LONGEST = 4096
LONGEST_LOOK = 300
"""Characters of a value that are compared with placeholders."""

_PLACEHOLDER = re.compile(
    r"""^(?:
      [xX*.\-_#?0\u2022\u2026\u25cf]{2,200}
    | [<\[{(].{0,200}[>\]})]
    | \$[\w{(].{0,200}
    | %(?:[A-Za-z_]{1,40}%|[sdrfv]|[({].{0,200})
    | [@!&*~^]?(?:Ref|Sub|GetAtt|vault|env|var|local|data|module|secrets?|process|os|config|settings|self|this|args|opts)[.\[(!: ].{0,200}
    | (?:op|vault|arn|ssm|secretsmanager|keyvault|file|https?|ref|env|base64|sm|gcp|aws-sm|bws|doppler)[+:].{0,200}
    | (?:/|\./|\.\./|~/)[\w.\-]{1,60}/[\w./\-]{0,200}
    | [A-Za-z]:\\.{0,200}
    | \\?[nrt]?\\{0,4}
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_SAYS_SO = re.compile(
    r"your[-_ ]|[-_ ]your|my[-_ ]?(?:super[-_ ]?)?(?:secret|token|api|key|pass)|change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this|with)?"
    r"|placeholder|insert[-_ ]|[-_ ]here$|x{4,}|\*{3,}|\.{3,}|\u2026|todo|fixme|redacted|removed|hidden|masked|dummy|foobar|lorem|xyz[-_]?\d?$"
    r"|not[-_ ]?a[-_ ]?real|fake|some[-_ ]|example(?!\.)|sample|<[a-z-]{1,40}>|\$\{|\{\{|%\(|%s|\{\w{0,40}\}",
    re.IGNORECASE,
)
_CALL = re.compile(r"^[A-Za-z_$][\w.:>\-]{0,100}[(\[]")
_PATH = re.compile(r"^[A-Za-z_$][\w$]{0,60}(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]{0,60}){1,8}[;,]?$")
_ROOTS = re.compile(
    r"(?:self|this|args|config|settings|os|process|req|request|env|params|opts|options|data|user|ctx|app|props|state|kwargs|cfg|conf|res|response|obj|cls|np|tf|torch|ed25519|ed448|x25519|x448|rsa|dsa|ec)\b",
    re.IGNORECASE,
)
_PATTERN = re.compile(r"\(\?[:=!<P]|\\[dwsbDWS]|\[(?:\^|[aA0]-)|\.[*+]|\{\d{1,4},\d{0,4}\}|\$$(?<=[)\]]\$)")
_TECHNICAL = re.compile(
    r"^(?:sha|md|base|utf|aes|rsa|oauth|oidc|ed|http|ipv|argon|pbkdf|hs|rs|es|ps|int|uint|float|str|hmac[-_]?sha|hex|http/)[-_]?\d{1,4}[-_/]?\w{0,12}$"
    r"|^\d{1,4}(?:[smhdwy]|ms|min|px|em|rem|kb|mb|gb|pt|x|th|st|nd|rd|%)s?$"
    r"|^v?\d+(?:\.\d+){1,3}(?:[-+]\w{1,20})?$"
    r"|^\d{4}-\d\d-\d\d(?:[T ].{0,30})?$|^0x[0-9a-f]{1,8}$|^[+-]?\d{0,6}\.\d{1,6}$",
    re.IGNORECASE,
)
_WORDS = re.compile(r"^[A-Za-z]+(?:[-_. /:][A-Za-z]+)*$")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_PUBLIC = re.compile(r"^0x[0-9a-fA-F]{40}$|^0x[A-Z][a-z]|^(?:sha\d{1,3}|SHA\d{1,3}|md5|MD5)[-:]")
"""An account of a chain, and hashes: nobody has to hide them."""
_HEX = re.compile(r"^[0-9a-fA-F]+$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")
_TOKEN = re.compile(r"^[\w+/=.~%:-]+$")
_USUAL = frozenset(
    [
        "password",
        "passwort",
        "passwd",
        "pass",
        "pwd",
        "secret",
        "token",
        "postgres",
        "postgresql",
        "mysql",
        "root",
        "admin",
        "guest",
        "user",
        "username",
        "test",
        "testing",
        "demo",
        "default",
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "str",
        "text",
        "required",
        "optional",
        "changeit",
        "letmein_not",
        "example",
        "mypassword",
        "yourpassword",
        "secretpassword",
        "minioadmin",
        "rabbitmq",
        "redis",
        "mongo",
        "mongodb",
        "elastic",
        "tiger",
        "scott",
        "sa",
        "dbpass",
        "dbpassword",
        "pgpass",
        "kennwort",
        "contraseña",
        "clave",
        "geheim",
    ]
)


def is_placeholder(value: str) -> bool:
    """Tell whether a value only stands for one: `changeme`, `${TOKEN}`, `<your key>`, `os.environ[...]`, `****`."""
    value = value[:LONGEST_LOOK]
    return bool(
        value.lower() in _USUAL
        or _PLACEHOLDER.match(value)
        or _SAYS_SO.search(value)
        or _TECHNICAL.match(value)
        or _PATTERN.search(value)
        or len(set(value)) <= min(3, len(value) - 2)
    )


_SENTENCE = frozenset(
    ["your", "my", "the", "a", "an", "use", "enter", "change", "secure", "strong", "random", "long", "password", "pass", "secret", "token", "key", "here", "is", "are", "not", "must", "please", "from", "with", "for", "to", "in", "of", "and", "or", "default", "example", "test", "be", "at", "least", "this", "that", "you", "it", "if", "when", "must", "no", "new", "old"]
)
_NAMED = re.compile(
    r"pass|pwd|secret|token|key|user|name|admin|root|test|demo|example|default|value|string|text|none|null|true|false|required|optional|hidden|masked|input|field|data|type|file"
    r"|postgres|mysql|maria|mongo|redis|rabbit|guest|wordpress|airflow|grafana|keycloak|elastic|kafka|oracle|sqlserver|docker|minio|change|your|env|config|var|self|this|get|set|credential|login|auth",
    re.IGNORECASE,
)
"""Words that stand for a password more often than they are one."""
_FILE_NAME = re.compile(
    r"\.(?:docx?|xlsx?|pptx?|pdf|py|jsx?|tsx?|md|txt|json|ya?ml|png|jpe?g|svg|csv|html?|zip|gz|log|conf|toml|ini|sql|sh|go|rs|java|[ch]pp)$"
)


def is_code(value: str) -> bool:
    """Tell whether an unquoted value is an expression: a call, an index, a dotted path."""
    if _CALL.match(value):
        return True
    return bool(_PATH.match(value)) and (not any(map(str.isdigit, value)) or bool(_ROOTS.match(value)))


def change(value: str) -> float:
    """Return at which share of its steps a text goes from one class of letters or digits to another."""
    kinds = [0 if c.islower() else 1 if c.isupper() else 2 if c.isdigit() else 3 for c in value[:256]]
    steps = [(a, b) for a, b in zip(kinds, kinds[1:], strict=False) if a != 3 and b != 3]
    # "Password" goes from a capital to small letters because it is a word
    return sum(a != b and (a, b) != (1, 0) for a, b in steps) / len(steps) if steps else 0.0


def entropy(value: str) -> float:
    """Return the bits that a character of a text says, by its own frequencies."""
    counts = Counter(value)
    return -sum(count / len(value) * log2(count / len(value)) for count in counts.values())


def is_random(value: str, *, least: int = 16) -> bool:
    """Tell whether a text looks drawn at random, of letters, digits and `_ - . + / = ~ :`, or is a UUID."""
    if (
        not least <= len(value) <= LONGEST
        or not _TOKEN.match(value)
        or _PUBLIC.match(value)
        or is_placeholder(value)
        or is_code(value)
    ):
        return False
    if _UUID.match(value):
        return True
    if entropy(value) < (2.6 if _HEX.match(value) else 3.0):
        return False
    return _mixed(value)


def _mixed(value: str) -> bool:
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    steps = change(value)
    if not digits or not letters:
        return (
            letters >= 16
            and value.replace("+", "").replace("=", "").isalpha()
            and steps >= (0.3 if letters < 20 else 0.24)
        )
    if "." in value and _wordy(value):
        return False
    return (
        steps >= 0.3
        or (steps >= 0.22 and (digits >= 2 or len(value) >= 20))
        or (digits >= 2 and steps >= 0.15 and not _wordy(value))
    )


def _wordy(value: str) -> bool:
    """Tell whether a text is made of words with numbers behind them, as in `my-app-prod-2024`."""
    pieces = _PIECE.findall(value)
    words = [piece for piece in pieces if len(piece) > 3 and not piece.isdigit()]
    return sum(map(len, words)) >= 0.55 * sum(map(len, pieces))


def is_strong(value: str, *, least: int = 6) -> bool:
    """Tell whether a text looks like a password that somebody was told to make strong; sentences and names do not."""
    if not least <= len(value) <= 256 or any(map(str.isspace, value)) or is_placeholder(value):  # noqa: PLR2004
        return False
    if is_code(value) or _FILE_NAME.search(value):
        return False
    classes = [any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit)]
    symbols = any(not c.isalnum() and c not in "_-./:," for c in value)
    return (
        (sum(classes) + symbols >= 3) or (classes[2] and (sum(classes) >= 2 or symbols)) or is_random(value, least=12)
    )


def classes(value: str, symbols: str = "") -> int:
    """Return how many kinds of characters a text has: small and capital letters, digits, others (or `symbols`)."""
    others = any(c in symbols if symbols else not c.isalnum() and c not in "_-./:," for c in value)
    return sum(any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit)) + others


def is_phrase(value: str) -> bool:
    """Tell whether a text is a pass phrase: four to ten short words."""
    words = value.split(" ")
    if _SENTENCE.intersection(words):
        return False
    return 4 <= len(words) <= 10 and all(2 <= len(word) <= 12 and word.isalpha() and word.islower() for word in words)


def is_password(value: str, *, quoted: bool, firm: bool) -> bool:
    """Tell whether a text is a password, where the name before it says that one follows.

    Args:
        value: the text.
        quoted: it stands in quotation marks.
        firm: the place leaves no doubt, as in `DB_PASSWORD=`; then letters alone may be one.
    """
    if not 4 <= len(value) <= 256 or is_placeholder(value) or (not quoted and is_code(value)):
        return False
    if any(c.isspace() for c in value):
        return False
    if _WORDS.match(value):
        return _letters_only(value, firm=firm)
    if value.isdigit():
        return quoted or firm or len(value) >= 6
    if any(c.isdigit() for c in value) or (len(value) > 7 and change(value) >= 0.25):  # noqa: PLR2004
        return True
    return any(not c.isalnum() and c not in "_-./:,;=" for c in value.rstrip(":*!?.…"))


def _letters_only(value: str, *, firm: bool) -> bool:
    words = re.split(r"[-_. /:]", value)
    if len(words) >= 4:  # noqa: PLR2004 - of a phrase
        return value.islower() and len(value) >= 20 and not _SENTENCE.intersection(words)  # noqa: PLR2004
    if len(words) > 1:
        return False
    return (len(value) >= 8 and change(value) >= 0.25) or (firm and len(value) >= 6 and not _NAMED.search(value))  # noqa: PLR2004
