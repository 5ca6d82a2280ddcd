"""The words that a secret stands behind, in the languages that people chat in, and names that only look like them."""

from __future__ import annotations

import re

PASSWORDS: tuple[str, ...] = (
    *("passw", "passphrase", "passcode", "pass", "pwd", "pw", "psk", "identified by", "requirepass", "masterauth"),
    *("convertto-securestring", "kennwort", "contraseña", "contrasena", "clave", "senha", "mot de passe"),
    *("mots de passe", "motdepasse", "mdp", "wachtwoord", "hasło", "haslo", "lösenord", "adgangskode", "heslo"),
    *("parola", "şifre", "пароль", "密码", "密碼", "パスワード", "비밀번호"),
)
SECRETS: tuple[str, ...] = (
    *("secret", "token", "bearer", "credential", "creds", "jeton", "токен", "令牌", "密钥", "ключ", "schlüssel", "clé"),
    *("llave", "chiave", "sleutel", "apikey", "api_key", "api-key", "api key", "api.key", "accesskey", "access_key"),
    *("access-key", "access key", "privatekey", "private_key", "private-key", "private key", "authkey", "auth_key"),
    *("auth-key", "encryptionkey", "encryption_key", "encryption-key", "encryption key", "signingkey", "signing_key"),
    *("signing-key", "signing key", "masterkey", "master_key", "master key", "accountkey", "account_key"),
    *("account key", "sharedkey", "shared_key", "shared key", "presharedkey", "preshared_key", "servicekey"),
    *("service_key", "service key", "licensekey", "license_key", "license key", "appkey", "app_key", "app key"),
    *("application_key", "application key", "adminkey", "admin_key", "admin key", "subscription-key"),
    *("subscription key", "deploy_key", "storagekey", "storage_key", "storage key", "webhook_key", "ingest_key"),
    *("writekey", "write_key", "cookie_key", "hmackey", "hmac_key", "hmac key", "fastly-key", "session key"),
    *("session_key", "_key", " key", "sessionid", "session_id", "session id", "sessid", "connect.sid", "_auth"),
    *('"auth', "-auth", "security-token"),
)
PINS: tuple[str, ...] = (
    *("pin", "otp", "tan", "cvv", "cvc", "cvv2", "verification code", "one-time code", "security code", "2fa code"),
    *("sicherheitscode", "prüfziffer", "bestätigungscode", "code de vérification", "código de verificación"),
)

_HARMLESS = """
    id ids name names type types count counts len length size sizes limit limits file files filename path paths dir url
    urls uri uris endpoint endpoints hash hashed hasher hashes field fields label labels policy policies strength reset
    prompt prompts hint hints column columns header headers format formats regex pattern patterns version versions min
    max ttl age usage budget index offset manager managers provider providers store ref refs arn rotation required
    enabled alg algorithm scope scopes status placeholder input error message text title description pair pairs lifetime
    audience issuer stream location category metadata mode mount engine scheme source config kind keys vault metrics
    cost price balance in out used share shares exchange derivation agreement
"""
_OPEN = """
    public primary foreign unique partition sort cache index hash row lookup idempotency object bucket natural composite
    surrogate group routing config json dict map search column field item data state react query i18n lang translation
    locale range shard s3 host known ssh pub registry hot arrow ctrl alt shift enter tab return escape modifier metric
    event message topic order merge join parent doc document file issue project jira bib cite citation page continuation
    sync pagination skip delta resume stop bos eos pad unk sep cls mask special max min total input output prompt
    completion num n cached reasoning design color spacing theme typography governance utility native border shadow
    motion font non per dead dedup dedupe deduplication
"""
NO_SECRET = frozenset(_HARMLESS.split())
"""Ends of names that hold no secret: `token_count`, `passwordHash`, `secretName`."""
NO_SECRET_STARTS = ("exp", "valid", "class", "per", "tokeniz", "iz", "ize")
NO_KEY = frozenset(_OPEN.split())
"""What stands before `key` and `token` when they open no door: `primary_key`, `max_tokens`."""

_PIECE = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")


def holds_no_secret(rest: str) -> bool:
    """Tell from what follows a word in a name that the name holds no secret."""
    pieces = _PIECE.findall(rest)
    last = pieces[-1].lower() if pieces else ""
    return last in NO_SECRET or last.startswith(NO_SECRET_STARTS)


def opens_no_door(name: str) -> bool:
    """Tell from what stands before a word in a name, or right before it, that this is no such key or token."""
    pieces = _PIECE.findall(name[-24:])
    return bool(pieces) and pieces[-1].lower() in NO_KEY and not name.isupper()
