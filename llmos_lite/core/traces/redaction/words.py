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

NO_SECRET = re.compile(
    r"(?:^|[_\-.]|(?<=[a-z])(?=[A-Z]))(?:ids?|names?|types?|counts?|len(?:gth)?|sizes?|limits?|files?(?:name)?|paths?|dir"
    r"|ur[il]s?|endpoints?|hash(?:ed|er|es)?|fields?|labels?|polic(?:y|ies)|strength|reset|prompts?|hints?|columns?"
    r"|headers?|formats?|regex|patterns?|versions?|min|max|exp\w{0,10}|ttl|age|usage|budget|index|offset|class\w{0,4}"
    r"|\w{0,3}izer|managers?|providers?|store|refs?|arn|rotation|required|enabled|valid\w{0,8}|alg(?:orithm)?|scopes?"
    r"|status|placeholder|input|error|message|text|title|description|pairs?|lifetime|audience|issuer|stream|location"
    r"|category|metadata|mode|mount|engine|scheme|source|config|kind|keys|vault|metrics|cost|price|balance|per\w*|in|out"
    r"|used|shares?|exchange|derivation|agreement)$",
    re.IGNORECASE,
)
"""Ends of names that hold no secret: `token_count`, `passwordHash`, `secretName`."""
NO_KEY = re.compile(
    r"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:public|primary|foreign|unique|partition|sort|cache|index|hash|row|lookup|idempotency|dedup\w{0,12}|object|bucket"
    r"|natural|composite|surrogate|group|routing|config|json|dict|map|search|column|field|item|data|state|react|query"
    r"|i18n|lang|translation|locale|range|shard|s3|host|known|ssh|pub|registry|hot|arrow|ctrl|alt|shift|enter|tab|return"
    r"|escape|modifier|metric|event|message|topic|order|merge|join|parent|doc|document|file|issue|project|jira|bib|cite"
    r"|citation|page|continuation|sync|pagination|skip|delta|resume|stop|bos|eos|pad|unk|sep|cls|mask|special|max|min"
    r"|total|input|output|prompt|completion|num|n|cached|reasoning|design|color|spacing|theme|typography|erc\w{0,6}"
    r"|governance|utility|native|border|shadow|motion|font|non|per|dead)[\s_.\-]?$",
    re.IGNORECASE,
)
"""What stands before `key` and `token` when they open no door: `primary_key`, `max_tokens`."""
