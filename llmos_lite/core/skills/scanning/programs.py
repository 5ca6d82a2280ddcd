"""Rules for programs in Python and JavaScript, and what together takes data away: a source and a sink."""

from __future__ import annotations

import re

from llmos_lite.core.skills.scan import Category, Severity
from llmos_lite.core.skills.scanning.rule import Kind, Rule

_LOADED = r"(?:requests\.get|urlopen|httpx\.get|urllib\.request|aiohttp|fetch|axios)"
_UNREADABLE = (
    r"(?:base64\.(?:b64|b32|b85|a85|urlsafe_b64)decode|b64decode|codecs\.decode|bytes\.fromhex|binascii\.|zlib\.decompress|marshal\.loads|"
    r"atob|buffer\.from|string\.fromcharcode|['\"]['\"]\.join\(\s{0,2}(?:chr\(|map\(chr)|\[::-1\])"
)


def _rule(  # noqa: PLR0917 - what a rule is
    code: str, category: Category, severity: Severity, message: str, words: str, source: str
) -> Rule:
    return Rule(code, category, severity, message, tuple(words.split("|")), re.compile(source))


PROGRAMS: tuple[Rule, ...] = (
    _rule(
        "remote.evaluated",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It runs what it downloads, unseen.",
        "exec|eval|function(",
        rf"\b(?:exec|eval|compile|new function|os\.system|subprocess\.\w{{1,12}}|vm\.runin\w{{1,20}})\s{{0,2}}\([^\n]{{0,120}}{_LOADED}",
    ),
    _rule(
        "obfuscation.evaluated",
        Category.OBFUSCATION,
        Severity.HIGH,
        "It runs something that nobody can read.",
        "exec|eval|function(|marshal|subprocess|os.system|__import__",
        rf"(?:\b(?:exec|eval|compile|new function|function|os\.system|subprocess\.\w{{1,12}}|child_process\.\w{{1,12}}|execsync)\s{{0,2}}\([^\n]{{0,160}}{_UNREADABLE}|"
        r"\bexec\(\s{0,3}marshal\.loads|\bgetattr\(\s{0,2}__import__\(|__import__\(\s{0,2}(?:[\"'][^\"'\n]{0,20}[\"']\s{0,2}\+|base64|codecs|bytes|chr))",
    ),
    _rule(
        "credentials.theft",
        Category.CREDENTIALS,
        Severity.HIGH,
        "It takes passwords from where a browser, a system or a wallet keeps them.",
        "login data|cookies.sqlite|logins.json|key4.db|/etc/shadow|wallet.dat|keychain|web data",
        r"\b(?:cp|mv|cat|open|copy2?|copyfile|copytree|read_bytes|read_text|connect|zip|tar|scp|rsync|readfilesync)\b[^\n]{0,200}(?:login data|web data|cookies\.sqlite|logins\.json|key4\.db|"
        r"/etc/shadow|wallet\.dat|library/keychains|login\.keychain)|\bsecurity\s{1,3}(?:dump-keychain|find-(?:generic|internet)-password[^\n]{0,80}\s-w?g?w\b[^\n]{0,80}(?:curl|\|))",
    ),
    _rule(
        "exfiltration.environment",
        Category.EXFILTRATION,
        Severity.HIGH,
        "It puts the whole environment, with every key in it, before the model.",
        "environ|process.env",
        r"\b(?:os\.)?environ\.items\(\)\s{0,3}\)?:\s{1,20}(?:print|sys\.stdout\.write|f(?:ile)?\.write)\(|\bprint\(\s{0,3}(?:dict\(|json\.dumps\(|str\()?(?:dict\()?(?:os\.)?environ\b(?!\.get|\[)|"
        r"\bconsole\.log\(\s{0,3}(?:json\.stringify\()?\s{0,3}process\.env\b(?!\.|\[)",
    ),
    _rule(
        "obfuscation.pickle",
        Category.OBFUSCATION,
        Severity.MEDIUM,
        "It loads a file that may run anything when it is loaded.",
        "marshal.loads|pickle.load|dill.load|cloudpickle",
        r"\b(?:marshal\.loads|(?:c?pickle|dill|cloudpickle)\.loads?)\s{0,2}\(",
    ),
    _rule(
        "code.eval",
        Category.CODE,
        Severity.HIGH,
        "It runs text that comes from outside as a program.",
        "eval(|exec(|compile(",
        r"\bcompile\(\s{0,3}\w{1,40}\s{0,2},\s{0,3}[\"']<[^\"'\n]{0,40}>[\"']\s{0,2},\s{0,3}[\"'](?:exec|eval)[\"']|(?<![\w.$])(?:eval|exec)\(\s{0,3}(?!compile\(|[\"'f]{1,2}[^{\n]{0,80}[\"']\s{0,2}\))(?:(?:sys\.argv|input\(|request|args|user_?|expr|expression|code\b|command|query|formula|text|content|data|payload|script)[\w.\[\]\"'()]{0,40})",
    ),
    _rule(
        "code.shell",
        Category.CODE,
        Severity.MEDIUM,
        "It gives text to a shell that may hold more than one command.",
        "os.system|shell=true|os.popen|execsync|child_process",
        r"(?:\bos\.(?:system|popen)\(\s{0,3}(?:f[\"'][^\n]{0,200}\{|[\"'][^\"'\n]{0,200}[\"']\s{0,3}(?:\+|%|\.format)|\w{1,40}\s{0,2}\+)|"
        r"\bsubprocess\.\w{1,12}\(\s{0,3}f[\"'][^\n]{0,200}\{[^\n]{0,200}shell\s{0,2}=\s{0,2}true|\bexecsync\(\s{0,2}`[^`\n]{0,200}\$\{)",
    ),
    _rule(
        "code.sql",
        Category.CODE,
        Severity.MEDIUM,
        "It puts text into a database command as it comes.",
        "execute(|.query(|select |insert into|delete from|update ",
        r"(?:\bexecute\(\s{0,3}(?:f[\"']{1,3}[^\n]{0,200}\{|[\"'][^\n]{0,200}[\"']\s{0,3}(?:\+|%|\.format\())|"
        r"\b(?:select\s[^\n]{1,120}\sfrom|insert\s{1,3}into|delete\s{1,3}from|update\s[^\n]{1,60}\sset)\b[^\n]{0,160}"
        r"(?:where|values|set)[^\n]{0,120}(?:'\{\w{1,40}\}|[\"']\s{0,3}\+\s{0,3}\w))",
    ),
)


def _fact(code: str, words: str, source: str) -> Rule:
    """Make a rule whose match says nothing by itself."""
    return Rule(code, Category.EXFILTRATION, Severity.LOW, "", tuple(words.split("|")), re.compile(source), Kind.FACT)


SECRET_PLACE = (
    r"(?:\.ssh(?:/(?:id_(?!\w{1,20}\.pub)|\*|config)|/?[\"'\s)]|/?$)|\bid_(?:rsa|ed25519|ecdsa|dsa)\b(?!\.pub)|\.aws(?:/(?:credentials|config)|/?[\"'\s)]|/?$)|\.netrc\b|\.git-credentials|\.npmrc\b|\.pypirc\b|"
    r"\.kube/config|\.docker/config\.json|\.gnupg\b|library/keychains|login\.keychain|login data\b|cookies\.sqlite|logins\.json|key4\.db|"
    r"/etc/shadow|wallet\.dat|\.config/gh/hosts|\.azure/|\.config/gcloud|application_default_credentials|metamask|\.claude/\.credentials)"
)

SOURCES: tuple[Rule, ...] = (
    _fact(
        "source.secrets",
        ".ssh|id_rsa|id_ed25519|id_ecdsa|.aws|.netrc|.git-credentials|.npmrc|.pypirc|.kube/config|.docker/config|.gnupg|keychain|login data|"
        "cookies.sqlite|logins.json|key4.db|/etc/shadow|wallet.dat|gh/hosts|.azure/|gcloud|application_default|metamask|.credentials",
        SECRET_PLACE,
    ),
    _fact(
        "source.environment",
        "environ|process.env|printenv|env |getenv|$env:",
        r"(?:\b(?:dict|str|repr|json\.dumps|list|sorted|urlencode)\(\s{0,3}(?:dict\(\s{0,2})?(?:os\.)?environ\b(?!\.get|\[)|\b(?:os\.)?environ\.(?:items|copy|values|keys)\(|"
        r"\bin (?:os\.)?environ\b(?!\.get|\[)|\b(?:=|return|,|:|\()\s{0,3}(?:os\.)?environ\s{0,2}(?:$|[,)}\n])|"
        r"\bjson\.stringify\(\s{0,3}process\.env\b(?!\.)|\bobject\.(?:entries|keys|values|assign)\([^\n]{0,20}process\.env\b(?!\.)|[{(,=]\s{0,3}(?:\.\.\.)?process\.env\s{0,3}[,})]|"
        r"\bprintenv\b|(?:^|[\s$(`;|&])env\s{0,3}(?:\||>|\))|\bget-childitem\s{1,3}env:)",
    ),
    _fact(
        "source.keys",
        "secret|token|api_key|apikey|password|private_key|credentials",
        r"(?:\b(?:environ(?:\.get)?|getenv)[(\[]\s{0,2}[\"'][a-z0-9_]{0,40}(?:secret_access|secret_key|private_key|password|aws_secret)[a-z0-9_]{0,20}[\"'])",
    ),
    _fact(
        "source.home",
        "expanduser|path.home|homedir|os.walk|glob",
        r"(?:\bos\.walk\(\s{0,3}(?:os\.path\.)?expanduser\(|\bos\.walk\(\s{0,3}[\"']/(?:home|users)?[\"']|path\.home\(\)\.(?:rglob|glob)\(|\bglob\.i?glob\([^\n]{0,60}expanduser\([\"']~/(?:\*\*|documents|desktop))",
    ),
)

SINKS: tuple[Rule, ...] = (
    _fact(
        "sink.network",
        "requests|httpx|urlopen|http.client|sendall|fetch(|axios|curl|wget|nslookup|dig |nc |smtplib|sendmail|scp |websocket|aiohttp|xmlhttprequest|invoke-restmethod|invoke-webrequest|http.request|https.request|.post(",
        r"(?:\b(?:requests|httpx|session|client|axios|http|aiohttp)\.(?:post|put|patch|request)\s{0,2}\(|\burlopen\([^\n]{0,200}(?:data\s{0,2}=|,)|\burllib\.request\.request\([^\n]{0,200}data\s{0,2}=|"
        r"\brequests\.get\([^\n]{0,160}(?:params\s{0,2}=|f[\"'][^\"'\n]{0,100}\{|\+)|\bhttp\.client\.https?connection\(|\.sendall\(|\bfetch\([^\n]{0,200}(?:\n[^\n]{0,120}){0,3}?(?:post|\$\{)|"
        r"\bsmtplib\.smtp|\bcurl\b[^\n]{0,200}(?:\s-(?:d|f|t)\b|\s--(?:data|form|upload)[\w-]{0,12}|\$\(|`|-x\s{0,2}(?:post|put)|[?&]\w{1,20}=\$)|\bwget\b[^\n]{0,120}--post|\bwget\b[^\n]{0,120}(?:\$\(|`)|"
        r"\b(?:nslookup|dig|host)\b[^\n]{0,60}\$|\bscp\b[^\n]{0,120}\w@|\bn(?:c|cat)\b[^\n]{0,40}\d{1,3}\.\d{1,3}|\|\s{0,3}n(?:c|cat)\b|\bhttps?\.request\(|\binvoke-(?:restmethod|webrequest)\b[^\n]{0,160}(?:post|-body)|xmlhttprequest)",
    ),
)
