"""Secrets and personal data, drawn at random and planted in texts as people write them."""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

from llmos_lite.core.traces.redaction import checksums

ALPHABETS = {
    "A": string.ascii_letters + string.digits,
    "H": "0123456789abcdef",
    "U": string.ascii_uppercase + string.digits,
    "L": string.ascii_uppercase,
    "D": string.digits,
    "N": "23456789",
    "W": string.ascii_letters + string.digits + "-_",
    "B": string.ascii_letters + string.digits + "+/",
    "S": string.ascii_lowercase + string.digits,
    "G": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}
SLOT = re.compile(r"\{([A-Z])(\d+)\}")

TOKENS: dict[str, tuple[str, ...]] = {
    "aws": ("AKIA{L16}", "ASIA{L16}"),
    "github": ("ghp_{A36}", "gho_{A36}", "ghs_{A36}", "ghr_{A36}", "github_pat_{A22}_{A59}"),
    "gitlab": ("glpat-{W20}", "gldt-{W20}", "glrt-{W20}", "glptt-{H40}"),
    "slack": ("xoxb-{D12}-{D12}-{A24}", "xoxp-{D12}-{D12}-{D12}-{H32}", "xapp-1-A{U10}-{D13}-{H64}"),
    "slack hook": ("https://hooks.slack.com/services/T{U8}/B{U10}/{A24}",),
    "stripe": ("sk_live_{A24}", "rk_live_{A99}", "whsec_{A32}"),
    "openai": ("sk-{A20}T3BlbkFJ{A20}", "sk-proj-{W74}T3BlbkFJ{W74}", "sk-svcacct-{W58}T3BlbkFJ{W58}"),
    "anthropic": ("sk-ant-api03-{W93}AA",),
    "google": ("AIza{W35}", "ya29.{W120}", "GOCSPX-{W28}"),
    "hugging face": ("hf_{A34}",),
    "npm": ("npm_{A36}",),
    "pypi": ("pypi-AgEIcHlwaS5vcmc{W150}",),
    "docker": ("dckr_pat_{W27}",),
    "digital ocean": ("dop_v1_{H64}",),
    "twilio": ("SK{H32}", "AC{H32}"),
    "sendgrid": ("SG.{W22}.{W43}",),
    "mail": ("key-{H32}", "{H32}-us12"),
    "telegram": ("{N10}:AA{W33}",),
    "discord": ("M{A23}.{W6}.{W38}", "https://discord.com/api/webhooks/{N18}/{W68}"),
    "shopify": ("shpat_{H32}", "shpss_{H32}"),
    "square": ("sq0atp-{W22}", "EAAA{W60}"),
    "braintree": ("access_token$production${S16}${H32}",),
    "databricks": ("dapi{H32}",),
    "new relic": ("NRAK-{U27}",),
    "vault": ("hvs.{W90}",),
    "linear": ("lin_api_{A40}",),
    "notion": ("secret_{A43}", "ntn_{D11}{A35}"),
    "figma": ("figd_{W40}",),
    "atlassian": ("ATATT3xFfGF0{W170}={U8}",),
    "grafana": ("glsa_{A32}_{H8}",),
    "supabase": ("sbp_{H40}",),
    "age": ("AGE-SECRET-KEY-1{G58}",),
    "azure": ("{A3}8Q~{A34}",),
    "ours": ("llmos_{A8}_{W43}",),
    "terraform": ("{A14}.atlasv1.{W67}",),
    "airtable": ("pat{A14}.{H64}",),
}
AROUND_TOKENS = (
    *(
        "¤",
        "Use this key ¤ please",
        '"¤"',
        "`¤`",
        "(¤)",
        "token=¤",
        "```\n¤\n```",
        "Fehler mit ¤.",
        "- ¤\n- b",
        "**¤**",
    ),
    *('curl -H "Authorization: Bearer ¤" https://api.acme.io', 'export API_TOKEN="¤"', '{"a": 1, "token": "¤"}'),
    *('{\\"token\\": \\"¤\\"}', "a\\n¤\\nb", "auth%3D¤%26b", "“Token”\uff1a¤", "https://¤@github.com/a/b.git", "¤;"),
    *(
        "invalid credentials ¤ (401)",
        "--token ¤ --verbose",
        "KEY => '¤',",
        "key\t¤\tend",
        "x\n¤\ny",
        "| k | ¤ |",
        "> ¤",
    ),
)
PASSWORDS = ("{A14}!", "{W9}#{D2}", "Tiger{N4}?", "river{N4}", "M0nday!{N2}", "Falcon-Cloud{N2}", "{A12}{D1}")
AROUND_PASSWORDS = (
    *("password=¤", "password: ¤\n", "PASSWORD=¤\n", 'DB_PASSWORD="¤"', "export PGPASSWORD='¤'", '{"password": "¤"}'),
    *('{\\"password\\":\\"¤\\"}', "passwd = '¤'", 'String password = "¤";', "'password' => '¤',", '$password = "¤";'),
    *("my password is ¤", 'My password is "¤", please log in', "the password for the server is ¤", "Passwort: ¤"),
    *(
        "Mein Passwort lautet ¤",
        "mot de passe : ¤",
        "contraseña: ¤",
        "пароль: ¤",
        "密码\uff1a¤",
        "login: bob\npassword: ¤",
    ),
    *("mysql -u root -p¤ db", "--password ¤", "curl -u admin:¤ https://x.io", "sshpass -p '¤' ssh root@10.0.0.1"),
    *("<password>¤</password>", "jdbc:mysql://db/x?user=a&password=¤", "Server=db;User Id=sa;Password=¤;Database=x"),
    *('- name: DB_PASSWORD\n  value: "¤"', "ENV DB_PASSWORD ¤", "ALTER USER bob WITH PASSWORD '¤';", "**Password:** ¤"),
    *("redis-cli -a ¤ ping", "machine x.io login bob password ¤", "SMTP_PASS=¤", "- password: `¤`", "wifi password: ¤"),
    *("credentials: admin / ¤", 'auth=("bob", "¤")', "| user | password |\n|---|---|\n| bob | ¤ |", "pass: ¤"),
    *("postgres://app:¤@db.acme.io:5432/x", "mongodb+srv://app:¤@c0.abc.mongodb.net/", "redis://:¤@cache:6379/0"),
)
KEYS = ("{H32}", "{H40}", "{H64}", "{B40}", "{A24}", "{A40}", "{B43}=", "{H8}-{H4}-4{H3}-a{H3}-{H12}")
AROUND_KEYS = (
    *("aws_secret_access_key = ¤", 'secretAccessKey: "¤"', "API_KEY=¤", "apiKey: '¤'", "X-API-Key: ¤\n", "secret: ¤\n"),
    *("Authorization: Bearer ¤", '"client_secret":"¤"', "AccountKey=¤;EndpointSuffix=x", "HEROKU_API_KEY=¤"),
    *("?access_token=¤&x=1", "my api key is ¤", "The API key is: ¤", "API-Schlüssel: ¤", "la clé API est ¤"),
    *("our access key for staging is ¤", "--api-key ¤", "Cookie: session=¤; theme=dark", "<ApiKey>¤</ApiKey>"),
    *(
        "NEXTAUTH_SECRET=¤",
        "//npm.acme.io/:_authToken=¤",
        'token := "¤"',
        "PrivateKey = ¤",
        "registration token ¤",
    ),
)
PEOPLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "email": (
        ("anna.schmidt@web.de", "k.mueller{D2}@acme-corp.com", "jsmith+x@mail.acme.co.uk", "sarah{D2}@example.org"),
        ("¤", "mail me at ¤", "<¤>", "mailto:¤", '"email": "¤"', "E-Mail: ¤.", "a\\n¤\\nb", "user=¤&x=1", "(¤)"),
    ),
    "phone": (
        (
            *(
                "+1 {N1}{D2}-{N1}{D2}-{D4}",
                "({N1}{D2}) {N1}{D2}-{D4}",
                "{N3}-{N3}-{D4}",
                "+49 171 {D7}",
                "+44 20 {D4} {D4}",
            ),
            *("+33 6 {D2} {D2} {D2} {D2}", "06 {D2} {D2} {D2} {D2}", "+86 138 {D4} {D4}", "0049 171 {D7}"),
        ),
        ("¤", "My number is ¤.", "Tel: ¤", '{"phone": "¤"}', "Handy ¤", "WhatsApp ¤", "name,¤,x", "(¤)"),
    ),
    "phone in words": (
        ("0171 {D7}", "030 {D7}", "{N1}{D9}", "612 {D3} {D3}", "555-{D4}", "0221/{D6}"),
        ("call me at ¤", "Tel.: ¤", "my mobile is ¤", '"phone": "¤"', "téléphone ¤", "ring me on ¤"),
    ),
    "ip": (
        ("91.198.174.{N2}", "2a02:8109:{H4}:{H4}:{H4}:{H4}:{H4}:{H4}"),
        ("client ¤ connected", '"ip": "¤"', "from ¤ port 22"),
    ),
    "mac": (("3c:22:fb:{H2}:{H2}:{H2}",), ("¤", "ether ¤ txqueuelen", '"mac":"¤"')),
    "birthdate": (
        ("{N1}.11.19{N2}", "19{N2}-03-14", "3/14/19{N2}", "14 March 19{N2}", "March 14, 19{N2}"),
        ("born on ¤", "date of birth: ¤", "DOB: ¤", "geboren am ¤", '"date_of_birth": "¤"'),
    ),
    "pin": (("{N4}",), ("my PIN is ¤", "PIN: ¤", "your verification code is ¤")),
    "ssn": (("5{N2}-{N2}-{N4}",), ("¤", "SSN: ¤", "my social security number is ¤")),
    "passport": (("C01X00T{D2}", "K{D7}"), ("passport number: ¤", "Reisepass: ¤", "Passport No. ¤")),
    "insurance": (("AB{D6}C", "JK {D2} {D2} {D2} D"), ("¤", "NI number: ¤")),
}
CHECKED: dict[str, tuple[tuple[str, ...], Callable[[str], bool], tuple[str, ...]]] = {
    "card": (
        ("4{D15}", "4{D3} {D4} {D4} {D4}", "5{N1}{D2}-{D4}-{D4}-{D4}", "37{D13}", "3782 {D6} {D5}"),
        lambda text: checksums.card(re.sub(r"\D", "", text)),
        ("¤", "Card number: ¤, exp 12/27", "Kreditkarte ¤"),
    ),
    "iban": (
        (
            "DE{D20}",
            "DE{D2} {D4} {D4} {D4} {D4} {D2}",
            "NL{D2}ABNA{D10}",
            "GB{D2} NWBK {D4} {D4} {D4} {D2}",
            "IT{D2}X{D22}",
        ),
        lambda text: checksums.iban(text.replace(" ", "")),
        ("¤", "IBAN: ¤", "please wire to ¤."),
    ),
    "steuer": (("{D11}",), checksums.steuer_id, ("Steuer-ID: ¤",)),
    "dni": (("{D8}{L1}", "X{D7}{L1}"), checksums.dni, ("¤", "DNI: ¤")),
    "nir": (("1{D2}05{D10}", "2{D2}11{D10}"), checksums.nir, ("¤",)),
    "ahv": (("756.{D4}.{D4}.{D2}",), lambda text: checksums.ahv(text.replace(".", "")), ("¤",)),
    "cpf": (("{D3}.{D3}.{D3}-{D2}",), lambda text: checksums.cpf(re.sub(r"\D", "", text)), ("¤",)),
    "bsn": (("{D9}",), checksums.bsn, ("BSN: ¤",)),
    "aadhaar": (("{D12}",), checksums.aadhaar, ("my aadhaar number is ¤",)),
    "resident": (("11010519{N1}{D1}0{N1}1{D4}{D1}",), checksums.resident_id, ("¤",)),
    "fiscal": (("{L6}{D2}A15H{D3}{L1}",), checksums.codice_fiscale, ("¤", "codice fiscale: ¤")),
}
BEFORE = ("", "Hi, can you help me with a deploy script?\n\n", "Das ist ein Test. ", "def f(x):\n    return x + 1\n\n")
AFTER = ("", "\n", "\nThanks a lot", "\n\nAnd then?")


class Planted(NamedTuple):
    """A text, what was planted in it, and of which kind that is."""

    kind: str
    text: str
    secret: str


class Planter:
    """Plants; the same seed plants the same."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing here is secret

    def draw(self, template: str) -> str:
        return SLOT.sub(lambda slot: "".join(self._random.choices(ALPHABETS[slot[1]], k=int(slot[2]))), template)

    def checked(self, template: str, check: Callable[[str], bool]) -> str:
        return next(value for value in iter(lambda: self.draw(template), "") if check(value))

    def plant(self, kind: str, secret: str, around: str) -> Planted:
        before, _, after = around.partition("¤")
        text = f"{self._random.choice(BEFORE)}{before}{secret}{after}{self._random.choice(AFTER)}"
        return Planted(kind, text, secret)

    def jwt(self) -> str:
        head, body = ({"alg": "HS256", "typ": "JWT"}, {"sub": self.draw("{D8}")})
        parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, body))
        return ".".join((*parts, self.draw("{W43}")))

    def private_key(self, name: str) -> str:
        lines = [self.draw("{B64}") for _ in range(self._random.choice((3, 13, 25)))]
        return "\n".join((f"-----BEGIN {name}-----", *lines, self.draw("{B30}=="), f"-----END {name}-----"))

    def all(self) -> Iterator[Planted]:
        """Yield every kind in every surrounding."""
        for kind, templates in TOKENS.items():
            for around in AROUND_TOKENS:
                yield self.plant(kind, self.draw(self._random.choice(templates)), around)
        for around in AROUND_TOKENS:
            yield self.plant("jwt", self.jwt(), around)
            name = self._random.choice(("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
            yield self.plant("private key", self.private_key(name), around)
        for kind, templates, surroundings in (
            ("password", PASSWORDS, AROUND_PASSWORDS),
            ("key", KEYS, AROUND_KEYS),
            *((kind, *rest) for kind, rest in PEOPLE.items()),
        ):
            for around in surroundings:
                for template in templates:
                    yield self.plant(kind, self.draw(template), around)
        for kind, (templates, check, surroundings) in CHECKED.items():
            for around in surroundings:
                for template in templates:
                    yield self.plant(kind, self.checked(template, check), around)
