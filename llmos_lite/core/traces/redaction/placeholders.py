"""What only stands where a secret could stand: placeholders, references, expressions, names of files and formats."""

from __future__ import annotations

import re

LONGEST_LOOK = 300
"""Characters of a value that are compared."""

_REFERENCE = re.compile(
    r"""^(?:
      [xX*.\-_#?0\u2022\u2026\u25cf]{2,200}
    | [<\[{(].{0,200}[>\]})]
    | \$(?:[A-Za-z_]\w{0,80}|[{(].{0,200})
    | %(?:[A-Za-z_]{1,40}%|[sdrfv]|[({].{0,200})
    | [@!&*~^]?
      (?:Ref|Sub|GetAtt|vault|env|var|local|data|module|secrets?|process|os|config|settings|self|this|args|opts)
      [.\[(!: ].{0,200}
    | (?:op|vault|arn|ssm|secretsmanager|keyvault|file|https?|ref|env|base64|sm|gcp|aws-sm|bws|doppler)[+:].{0,200}
    | key:(?:llmos_)?[0-9a-f]{4,12}
    | (?:/|\./|\.\./|~/)[\w.\-]{1,60}/[\w./\-]{0,200}
    | [A-Za-z]:\\.{0,200}
    | \\?[nrt]?\\{0,4}
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_SAYS_SO = re.compile(
    r"your[-_ ]|[-_ ]your|my[-_ ]?(?:super[-_ ]?)?(?:secret|token|api|key|pass)|change[-_ ]?(?:me|this|it)"
    r"|replace[-_ ]?(?:me|this|with)?|placeholder|insert[-_ ]|[-_ ]here$|x{4,}|\*{3,}|\.{3,}|\u2026|todo|fixme|redacted"
    r"|removed|hidden|masked|dummy|foobar|lorem|xyz[-_]?\d?$|not[-_ ]?a[-_ ]?real|fake|some[-_ ]|sample"
    r"|(?<![a-z0-9])example(?!\.)|example(?![a-z0-9.])"
    r"|<[a-z-]{1,40}>|\$\{|\{\{|%\(|%s|\{\w{0,40}\}",
    re.IGNORECASE,
)
_TECHNICAL = re.compile(
    r"^(?:sha|md|base|utf|aes|rsa|oauth|oidc|ed|http|ipv|argon|pbkdf|int|uint|float|str|hmac[-_]?sha|hex|http/)"
    r"[-_]?\d{1,4}[-_/]?\w{0,12}$"
    r"|^[hrep]s(?:256|384|512)$|^\d{1,4}(?:[smhdwy]|ms|min|px|em|rem|kb|mb|gb|pt|x|th|st|nd|rd|%)s?$"
    r"|^v?\d+(?:\.\d+){1,3}(?:[-+]\w{1,20})?$"
    r"|^\d{4}-\d\d-\d\d(?:[T ].{0,30})?$|^0x[0-9a-f]{1,8}$|^[+-]?\d{0,6}\.\d{1,6}$",
    re.IGNORECASE,
)
_PATTERN = re.compile(r"\(\?[:=!<P]|\\[dwsbDWS]|\[(?:\^|[aA0]-)|\.[*+]|\{\d{1,4},\d{0,4}\}|\$$(?<=[)\]]\$)")
_USUAL = frozenset(
    (
        *(
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
        ),
        *("admin", "test", "testing", "demo", "default", "none", "null", "nil", "true", "false", "undefined", "string"),
        *("guest", "user", "username", "str", "text", "required", "optional", "changeit", "example", "mypassword"),
        *("yourpassword", "secretpassword", "minioadmin", "rabbitmq", "redis", "mongo", "mongodb", "elastic", "tiger"),
        *("scott", "sa", "dbpass", "dbpassword", "pgpass", "kennwort", "contraseña", "clave", "geheim"),
    )
)
_CALL = re.compile(r"^[A-Za-z_$][\w.:>\-]{0,100}[(\[]")
_PATH = re.compile(r"^[A-Za-z_$][\w$]{0,60}(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]{0,60}){1,8}[;,]?$")
_ROOTS = re.compile(
    r"(?:self|this|args|config|settings|os|process|req|request|env|params|opts|options|data|user|ctx|app|props|state"
    r"|kwargs|cfg|conf|res|response|obj|cls|np|tf|torch|ed25519|ed448|x25519|x448|rsa|dsa|ec)\b",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\.(?:docx?|xlsx?|pptx?|pdf|py|jsx?|tsx?|md|txt|json|ya?ml|png|jpe?g|svg|csv|html?|zip|gz|log|conf|toml|ini|sql|sh"
    r"|go|rs|java|[ch]pp)$"
)


def is_placeholder(value: str) -> bool:
    """Tell whether a value only stands for one: `changeme`, `${TOKEN}`, `<your key>`, `os.environ[...]`, `****`."""
    value = value[:LONGEST_LOOK]
    return bool(
        value.lower() in _USUAL
        or _REFERENCE.match(value)
        or _SAYS_SO.search(value)
        or _TECHNICAL.match(value)
        or _PATTERN.search(value)
        or len(set(value)) <= min(3, len(value) - 2)
    )


def is_code(value: str) -> bool:
    """Tell whether an unquoted value is an expression: a call, an index, a dotted path."""
    if _CALL.match(value):
        return True
    path = _PATH.match(value) is not None
    return path and (not any(map(str.isdigit, value)) or _ROOTS.match(value) is not None)


def is_file(value: str) -> bool:
    """Tell whether a value is the name of a file."""
    return _FILE.search(value) is not None
