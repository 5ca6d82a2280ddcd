"""What is found in one text, and what is left: cases that somebody who plants secrets, or writes code, thinks of."""

from __future__ import annotations

import pytest
from planted_secrets import Planter

from llmos_lite.core.traces.redaction.finder import TextFinder

FINDER = TextFinder()
BODY = "MC4CAQAwBQYDK2VwBCIEIJ3kq0v9s2m4n6b8v0c2x4z6q8w0e2r4t6y8u0i2o4p6"
PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----"
KUBE = "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NB"
SEED = "legal winner thank year wave sausage worth useful legal winner thank yellow"
IBAN = "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"
GITHUB = "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in FINDER.find(text)]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("define('DB_PASSWORD', 'kQ8#vL2p');", "kQ8#vL2p"),
        ("production:\n  username: app\n  password: tr0ub4dor\n  host: x", "tr0ub4dor"),
        ("<add connectionString='User ID=bob;Password=Zx9!kLmQ2;Encrypt=True' />", "Zx9!kLmQ2"),
        ('ConvertTo-SecureString "Winter2024!" -AsPlainText -Force', "Winter2024!"),
        ("kubectl create secret generic db --from-literal=password=S0m3P4ss", "S0m3P4ss"),
        ("WIFI:T:WPA;S:home;P:Sunny-Day-88;;", "Sunny-Day-88"),
        ("otpauth://totp/ACME:bob?secret=JBSWY3DPEHPK3PXPJBSWY3DP&issuer=ACME", "JBSWY3DPEHPK3PXPJBSWY3DP"),
        ("sqlplus scott/t1gerT1ger@orcl", "t1gerT1ger"),
        ("Use Kx82jdLq! as the admin password.", "Kx82jdLq!"),
        ("Kx82jdLq is my password", "Kx82jdLq"),
        ("密码是Kx82jdLq", "Kx82jdLq"),
        ("La password è Kx82jdLq", "Kx82jdLq"),
        ("curl -d '{\"password\":\"Kx82jdLq\"}' https://x", "Kx82jdLq"),
        ("PGPASSWORD=Kx82jdLq psql -h db", "Kx82jdLq"),
        ("echo 'Kx82jdLq' | sudo -S apt update", "Kx82jdLq"),
        ("net user bob Kx82jdLq /add", "Kx82jdLq"),
        ("openssl pkcs12 -in a -passin pass:Kx82jdLq", "Kx82jdLq"),
        ("ssh-keygen -t ed25519 -N 'Kx82jdLq' -f k", "Kx82jdLq"),
        ("os.environ['DB_PASSWORD'] = 'Kx82jdLq'", "Kx82jdLq"),
        ("process.env.TOKEN || 'a8f5f167f44f4964e6c998dee827110c'", "a8f5f167f44f4964e6c998dee827110c"),
        ('<input type="password" name="p" value="Kx82jdLq">', "Kx82jdLq"),
        ("password: >-\n  Kx82jdLq\n", "Kx82jdLq"),
        ('"said \\"password\\": \\"Kx82jdLq\\""', "Kx82jdLq"),
        ("https://user:Kx82%21jdLq@host/p", "Kx82%21jdLq"),
        ("https://3f4b1c9d8e7a6b5c4d3e2f1a0b9c8d7e@o1.ingest.sentry.io/42", "3f4b1c9d8e7a6b5c4d3e2f1a0b9c8d7e"),
        ("Cookie: PHPSESSID=8f3kq0v9s2m4n6b8v0c2x4z6q8; lang=de", "8f3kq0v9s2m4n6b8v0c2x4z6q8"),
        ('{"auths":{"https://index.docker.io/v1/":{"auth":"Ym9iOkt4ODJqZExx"}}}', "Ym9iOkt4ODJqZExx"),
        ("Authorization: Basic Ym9iOkt4ODJqZExx", "Ym9iOkt4ODJqZExx"),
        (f"client-key-data: {KUBE}", KUBE),
        ("user,password\nbob,Kx82jdLq\n", "Kx82jdLq"),
        ("passphrase: correct horse battery staple", "correct horse battery staple"),
        ("PASSWORD='correct horse battery staple'", "correct horse battery staple"),
        (f"seed phrase: {SEED}", SEED),
        ("card cvv 819", "819"),
        ("password: (O6S2Epgr^", "(O6S2Epgr^"),
        ("password: $Xy9!abQ", "$Xy9!abQ"),
        ("password: Xy&9!abQ", "Xy&9!abQ"),
        ("{password: abc123, x: 1}", "abc123"),
        ("?password=abc123&x=1", "abc123"),
        ("my password is letmein", "letmein"),
        ("password is 12345678", "12345678"),
        ("api_key=1234567890abcdef1234567890abcdef", "1234567890abcdef1234567890abcdef"),
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"),
        (f"x{GITHUB}", ""),
        (f"%3D{GITHUB}%26", GITHUB),
        (f"\\n{GITHUB}\\n", GITHUB),
        (GITHUB, GITHUB),
        (f"key:\n{PEM}\n", PEM),
        (PEM.replace("\n", "\\n"), PEM.replace("\n", "\\n")),
        (PEM.replace("\n", " "), PEM.replace("\n", " ")),
        (PEM[:100], PEM[:100]),
    ],
)  # fmt: skip
def test_a_secret_is_found_and_nothing_around_it(text: str, secret: str) -> None:
    assert found(text) == ([("secret", secret)] if secret else [])


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("jürgen.müller@firma.de", "email", "jürgen.müller@firma.de"),
        ("jane.roe [at] corp [dot] com", "email", "jane.roe [at] corp [dot] com"),
        ("write to jane.roe at corp dot com", "email", "jane.roe at corp dot com"),
        ('{"to": "\\njane\\u0040corp.com"}', "email", "jane\\u0040corp.com"),
        ("jane\uff20corp.de", "email", "jane\uff20corp.de"),
        ("ja\u200bne@cor\u00adp.de", "email", "ja\u200bne@cor\u00adp.de"),
        ("a &lt;jane@corp.de&gt; b", "email", "jane@corp.de"),
        (f"Konto {IBAN}", "iban", IBAN),
        ("call (212) 555\u20110187 today", "phone", "(212) 555\u20110187"),
        ("phone=%2B14155550187&x", "phone", "%2B14155550187"),
        ("Ruf mich an: 0171/2345678", "phone", "0171/2345678"),
        ("X-Forwarded-For: 91.198.174.192, 10.0.0.1", "ip", "91.198.174.192"),
        ("inet6 2a02:8109:b6c0:1234::5 scope", "ip", "2a02:8109:b6c0:1234::5"),
        ("00-1A-2B-3C-4D-5E up", "mac", "00-1A-2B-3C-4D-5E"),
        ("geboren am 3. März 1984 in Köln", "birthdate", "3. März 1984"),
        ("Adresse: Lindenstraße 14, 50674 Köln", "address", "Lindenstraße 14, 50674 Köln"),
        ("I live at 742 Evergreen Terrace, Springfield", "address", "742 Evergreen Terrace, Springfield"),
        ("12 rue de la Paix, 75002 Paris", "address", "12 rue de la Paix, 75002 Paris"),
        ("codice fiscale RSSMRA85T10A562S", "id", "RSSMRA85T10A562S"),
        ("DNI X1234567L, gracias", "id", "X1234567L"),
        ("driver's license D1234567", "id", "D1234567"),
        ("Amex: 378282246310005", "card", "378282246310005"),
        ("001-581-896-0013x3890", "phone", "001-581-896-0013x3890"),
        ("555-123-4567", "phone", "555-123-4567"),
        ("4759 Bill Haven Apt. 194\nWest Corey, TX 48933", "address", "4759 Bill Haven Apt. 194\nWest Corey, TX 48933"),
        ("my password is Tr0ub4dor&3kqp", "secret", "Tr0ub4dor&3kqp"),
        ("jane@company.com", "email", "jane@company.com"),
    ],
)  # fmt: skip
def test_personal_data_is_found_in_any_disguise(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "commit 3f4b1c9d8e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c",
        "id: 550e8400-e29b-41d4-a716-446655440000",
        f'"integrity": "sha512-{Planter(1).draw("{B86}==")}"',
        f"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA{Planter(2).draw('{B2000}')}==",
        "00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  |.ELF............|",
        "<Buffer 01 00 00 00 50 32>",
        f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3kq0v9s2m4n6b8v0c2x4z6q8w0e2r4t6y8u0i2o4p6",
        'password = os.environ["DB_PASSWORD"]',
        "password = getpass.getpass()",
        "password: str | None = None",
        "def login(user, password, token=None):\n    key1 = 5",
        "DB_PASSWORD=${DB_PASSWORD}",
        "api_key: {{ vault.api_key }}",
        "API_KEY=<your-api-key>",
        "OPENAI_API_KEY=sk-your-key-here",
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "password: changeme",
        '"password": "Passwort"',
        "The password must be at least 8 characters long and is stored hashed.",
        "password is required",
        "max_tokens=4096, next_page_token, primary_key=True, secret_name='db', token_type='bearer'",
        "postgres://user:password@localhost/db and http://localhost:8080/path@x",
        "git@github.com:org/repo.git",
        "ssh deploy@web1.acme.com -p 22",
        "scp a.txt bob@host.acme.com:/tmp",
        "@app.route('/x') def f(): return A@B.inverse",
        "npm i react@18.2.0 @types/node@20.1.0",
        "user@example.com, you@gmail.com, noreply@acme.com",
        "v1.2.3.4 version 10.11.12.13, Chrome/120.0.0.0, upgrade to 4.2.77.15, 2.5.29.15",
        "127.0.0.1 10.1.2.3 192.168.0.7 172.16.3.4 203.0.113.9 8.8.8.8 fe80::1 2001:db8::1 ::1 std::vector",
        "2024-01-31 12:34:56.123456+00:00 1706700896123456 20240131T123456Z",
        "1 000 000 000 and 3.141592653589793 and 0x7fffffffffffffff and 1234567890123456",
        "order 4111111111111112, isbn 978-3-16-148410-0, doi 10.1016/0020-0190(74)90001-5",
        "51 Franklin Street, Fifth Floor",
        "key:llmos_0a1b2c3d is the name of a credential",
        "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89",
        "<email:1> <secret:2> password=<secret:3>",
        "",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert found(text) == []


def test_a_category_can_be_left_out() -> None:
    text = "password=Kx82jdLq jane@corp.de"
    assert [one.kind for one in TextFinder(("secrets",)).find(text)] == ["secret"]
    assert [one.kind for one in TextFinder(("personal",)).find(text)] == ["email"]
    assert TextFinder(()).find(text) == []


def test_a_token_that_is_longer_than_known_goes_as_a_whole() -> None:
    long = Planter(1).draw("{A1200}")
    assert found(f"API_TOKEN={long}") == [("secret", long)]
    assert found(f"API_TOKEN=ghp_{long}") == [("secret", f"ghp_{long}")]


def test_the_key_beside_its_id_needs_no_name() -> None:
    row = "bob,AKIAQX5ZJ7VNK2RTWMPL,mF8s/Kd92jXc+QpLz7RtYv3WnBa5HgUe1TiOx0Cq"
    assert [value for _, value in found(row)] == row.split(",")[1:]


def test_every_column_of_secrets_is_read() -> None:
    rows = [("bob", Planter(row).draw("{A9}!1"), Planter(row).draw("{H40}")) for row in range(3)]
    secrets = [("secret", value) for row in rows for value in row[1:]]
    for between in ("|", ",", ";", "\t"):
        table = "\n".join(between.join(row) for row in (("user", "password", "token"), *rows, ("", "")))
        assert found(table) == secrets
    assert found("| user | password |\n| bob | Tiger4711! |\n\n| eve | Tiger4712! |") == [("secret", "Tiger4711!")]


def test_the_private_members_of_a_key_in_json_go() -> None:
    open_, private = Planter(1).draw("{W43}"), Planter(2).draw("{W43}")
    assert found(f'{{"kty":"EC","x":"{open_}","d":"{private}"}}') == [("secret", private)]


def test_a_putty_key_loses_its_private_lines() -> None:
    lines = "AAAAIEx2b3VhcmVyZWFkaW5nbXlrZXl0aGF0aXNub3RuaWNl"
    text = f"PuTTY-User-Key-File-3: x\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\n{lines}\nPrivate-MAC: 0f3a5c7e9b1d\n"
    [(kind, value)] = found(text)
    assert (kind, lines in value) == ("secret", True)
