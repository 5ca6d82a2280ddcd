"""Rules for commands: code from elsewhere, doors to elsewhere, what stays, what is gone afterwards."""

from __future__ import annotations

import re

from llmos_lite.core.skills.scan import Category, Severity
from llmos_lite.core.skills.scanning.rule import Kind, Rule

_FETCH = r"(?:curl|wget|fetch|aria2c|http(?:ie)?|iwr|invoke-webrequest)\b"
_RUN = (
    r"(?:(?:/usr)?(?:/bin/)?(?:env )?(?:sudo\s{1,4}(?:-\w{1,3}\s{1,4}){0,2})?(?:/usr)?(?:/bin/)?"
    r"(?:(?:ba|z|da|k|fi)?sh\b|(?:python[\d.]{0,4}|perl|ruby|node|php|deno|bun|osascript)(?:\s{1,3}-)?(?=\s{0,4}(?:$|[\n;&|)\"'`]))|(?:source|eval)\b|iex\b))"
)
"""What runs its input. `python -m json.tool` and the like read it."""
_KNOWN = re.compile(
    r"https?://(?:raw\.githubusercontent\.com/(?:homebrew/install|nvm-sh/nvm|ohmyzsh/ohmyzsh|helm/helm|k3d-io/k3d|rancher/k3d|pyenv/pyenv-installer|"
    r"golangci/golangci-lint|aquasecurity/trivy|anchore/(?:syft|grype)|dapr/cli|ocaml/opam|kubernetes-sigs/kustomize)/|"
    r"(?:(?:deb|rpm)\.nodesource\.com|sh\.rustup\.rs|astral\.sh/u?[vf]|ollama\.com|bun\.(?:sh|com)|(?:www\.)?deno\.(?:land|com)|get\.docker\.com|"
    r"install\.python-poetry\.org|get\.pnpm\.io|fnm\.vercel\.app|mise\.(?:run|jdx\.dev)|get\.volta\.sh|(?:pkgs\.)?tailscale\.com|(?:community\.)?chocolatey\.org|"
    r"get\.scoop\.sh|claude\.ai/install|cli\.github\.com|get\.k3s\.io|get\.rke2\.io|get\.k0s\.sh|get\.helm\.sh|starship\.rs|get\.sdkman\.io|"
    r"install\.determinate\.systems|nixos\.org/nix|fly\.io/install|get\.pulumi\.com|sdk\.cloud\.google\.com|opencode\.ai/install|zed\.dev/install|"
    r"cursor\.com/install|setup\.atuin\.sh|pixi\.sh|micro\.mamba\.pm|run\.linkerd\.io|istio\.io|temporal\.download|railway\.(?:app|com)/install|"
    r"install\.duckdb\.org|pkgx\.sh|get\.jetify\.com|direnv\.net|get\.arkade\.dev|(?:cli\.)?sentry\.(?:io|dev)|get\.tur\.so|wasmtime\.dev|get\.rvm\.io|"
    r"get-ghcup\.haskell\.org|get\.nextflow\.io|sh\.jbang\.dev|install\.meteor\.com|just\.systems|foundry\.paradigm\.xyz)(?![\w.-]))"
)
"""Addresses of the installers that the makers of well-known tools tell everybody to run."""
_HOSTS = re.compile(r"(?:github|gitlab|bitbucket|codeberg|huggingface|sr\.ht)\b")
"""Where the makers of packages keep their source."""
_DECODE = (
    r"(?:base64\s{1,3}(?:-{1,2}d(?:ecode)?|-di?)\b|openssl\s{1,3}(?:base64|enc)\b[^\n|]{0,60}-d|xxd\s{1,3}(?:-\w{1,2}\s{1,3}){0,3}-?r?|"
    r"gunzip|zcat|uudecode|rev\b|tr\s{1,3}['\"]?[a-z]-)"
)
_DISK = r"/dev/(?:sd[a-z]|nvme\d|hd[a-z]|disk\d|mapper/)"
_RC = r"\.(?:bashrc|zshrc|profile|bash_profile|zprofile|zshenv|bash_login|config/fish/config\.fish)\b"


def _rule(  # noqa: PLR0917 - what a rule is
    code: str,
    category: Category,
    severity: Severity,
    message: str,
    words: str,
    source: str,
    kind: Kind = Kind.COMMAND,
    known: re.Pattern[str] | None = None,
    needs: tuple[str, ...] = (),
) -> Rule:
    return Rule(code, category, severity, message, tuple(words.split("|")), re.compile(source), kind, known, needs)


_SKILLS = r"(?:npx|bunx|pnpm|yarn)\s{1,4}(?:(?:-y|--yes|dlx|exec)\s{1,4}){0,2}skills(?:@[\w.-]{1,20})?\s{1,4}(?:add|install|i)\b"
"""Installs skills: text that is scanned where it arrives, and no program that runs now."""

_REMOTE = (
    _rule(
        "remote.pipe",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It runs what it downloads, unseen.",
        "curl|wget|fetch|aria2c|iwr|invoke-webrequest|invoke-restmethod|irm|downloadstring|httpie",
        rf"(?:\b{_FETCH}[^\n|]{{0,300}}\|(?:[^\n|]{{0,80}}\|){{0,3}}\s{{0,12}}{_RUN}|"
        rf"\b(?:ba|z|da)?sh\s{{1,4}}(?:-\w\s{{1,4}})?(?:<\(|[\"']?\$\(|[\"']?`)\s{{0,4}}{_FETCH}|"
        rf"\b(?:source|\.|eval|python[\d.]{{0,4}}|node)\s{{1,4}}(?:-c\s{{1,4}}|-e\s{{1,4}})?(?:<\(|[\"']?\$\(|[\"']?`)\s{{0,4}}{_FETCH}|"
        r"\b(?:iwr|irm|invoke-webrequest|invoke-restmethod|curl|wget)\b[^\n]{0,200}\|\s{0,4}(?:iex|invoke-expression)\b|"
        r"\b(?:iex|invoke-expression)\b[^\n]{0,80}(?:iwr|irm|invoke-webrequest|downloadstring|curl)\b|"
        r"\bdownloadstring\s{0,3}\([^\n]{0,200}(?:iex|invoke-expression))",
        known=_KNOWN,
        needs=("|", "(", "`", "iex", "invoke-expression"),
    ),
    _rule(
        "remote.run",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It downloads a program and runs it.",
        "curl|wget|invoke-webrequest|iwr|urlretrieve|bitsadmin|certutil",
        r"(?:\b(?:curl|wget)\b[^\n]{0,300}\s(?:-o|--output|>)\s{0,3}[\"']?(?P<a>[\w./~$-]{1,80})[^\n]{0,80}(?:&&|;|\n)[\s\S]{0,120}?"
        r"(?:chmod\s{1,3}(?:\+x|[0-7]{3,4}|a\+x|u\+x)[^\n]{0,80}(?:&&|;|\n)\s{0,6}(?:sudo\s{1,3}|nohup\s{1,3})?(?P=a)|"
        r"\b(?:sudo\s{1,3})?(?:ba|z)?sh\s{1,3}(?P=a))|"
        r"\bcertutil\b[^\n]{0,60}-urlcache\b|\bbitsadmin\b[^\n]{0,60}/transfer\b)",
    ),
    _rule(
        "remote.package",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It installs a package from an address instead of a registry.",
        "pip|uv |npm|npx|pnpm|yarn|gem |cargo|go install|go run|uvx|pipx|easy_install",
        rf"\b(?!{_SKILLS})(?:(?:pip[\d.]{{0,4}}|uv(?: pip)?|pipx|uvx|npm|npx|pnpm|yarn|bunx|gem|easy_install)\s{{1,4}}(?:[\w@=./:-]{{1,40}}\s{{1,4}}){{0,6}}?(?:git\+)?"
        r"(?:https?|git|ssh)://[^\s]{1,200}\.(?:git|zip|whl|tgz|tar\.gz|tar)\b|(?:pip[\d.]{0,4}|uv(?: pip)?)\s{1,4}(?:install|add)[^\n]{0,80}\bgit\+|"
        r"npx\s{1,4}(?:-y\s{1,4}|--yes\s{1,4})?(?:github:|https?://))",
        known=_HOSTS,
    ),
    _rule(
        "remote.skill",
        Category.REMOTE_CODE,
        Severity.MEDIUM,
        "It installs another skill from an address.",
        "skills",
        rf"\b{_SKILLS}[^\n]{{0,80}}?https?://(?!localhost|127\.)",
    ),
    _rule(
        "remote.unpinned",
        Category.REMOTE_CODE,
        Severity.MEDIUM,
        "It runs whatever version of a package is the newest, without a question.",
        "npx|pnpm|yarn|bunx|uvx",
        r"\b(?:npx\s{1,4}(?:-y|--yes)\s{1,4}(?!-)(?:@[\w.-]{1,60}/)?[\w.-]{1,60}(?:@latest\b|(?![\w@./:-]))|"
        r"(?:npx|bunx|uvx|pnpm\s{1,4}dlx|yarn\s{1,4}dlx)\s{1,4}(?:@[\w.-]{1,60}/)?[\w.-]{1,60}@latest\b)",
    ),
    _rule(
        "remote.registry",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It makes another registry the one of every later install.",
        ".npmrc|pip.conf|pip.ini|.yarnrc|.condarc|.cargo/config",
        r"(?:>|\btee\b|write_text|\bopen\()[^\n]{0,120}(?:\.npmrc|pip\.conf|pip\.ini|\.yarnrc(?:\.yml)?|\.condarc|\.cargo/config(?:\.toml)?)\b[\s\S]{0,160}?"
        r"(?:registry|index-url|npmregistryserver)[\"'\s]{0,3}[=:]\s{0,3}[\"']?https?://(?![a-z.]{0,20}(?:npmjs|pypi|crates|yarnpkg|anaconda)\.)[a-z0-9.-]{3,80}",
    ),
    _rule(
        "remote.index",
        Category.REMOTE_CODE,
        Severity.MEDIUM,
        "It takes packages from another registry than the usual one.",
        "index-url|--registry|--find|trusted-host|index_url|-i http|config set registry|goproxy|npm_config_registry",
        r"(?:--(?:extra-)?index-url[= ]|--registry[= ]|--find[-]links[= ]|\bpip[\d.]{0,3} install[^\n]{0,80} -i |config\s{1,3}set\s{1,3}registry\s{1,3}|"
        r"\b(?:pip_(?:extra_)?index_url|npm_config_registry|goproxy|uv_index_url|uv_default_index)\s{0,2}=\s{0,2}|"
        r"\bregistry\s{0,2}=\s{0,2})[\"']?(?:\$\{[a-z_]{1,40}:?-)?https?://(?!localhost|127\.)[a-z0-9.-]{3,80}|--trusted-host\b",
    ),
    _rule(
        "remote.lure",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It asks a person to paste a command into a terminal, or to run a program from a page, before it works.",
        "terminal|command prompt|powershell|extract",
        r"(?:\b(?:open|launch|start)\b[^\n]{0,40}\b(?:terminal|command prompt|powershell)\b[^\n]{0,60}\b(?:paste|copy)\b|"
        r"\bpaste\b[^\n]{0,80}\b(?:in|into|to) (?:your |the |a )?(?:terminal|command prompt|powershell)\b[^\n]{0,80}(?:\n[\s\S]{0,200}?)?"
        r"(?:password|curl|base64|https?://|sudo)|"
        r"\b(?:extract|unzip|unpack|open)\b[^\n]{0,60}(?:\n[^\n]{0,60})?\b(?:using|with) (?:the )?(?:pass(?:word|phrase|code))\b)",
    ),
    _rule(
        "remote.locked",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It unpacks an archive with a password that stands beside it, so that no scanner can look inside.",
        "password|unzip -p|7z|unrar|pass:",
        r"(?:\b(?:unzip\s{1,3}(?:-\w{1,3}\s{1,3}){0,2}-p\b|7z[a]?\s{1,3}x[^\n]{0,60}\s-p\S|unrar\s{1,3}x[^\n]{0,60}\s?-p\S)|"
        r"\.(?:zip|7z|rar)\b[^\n]{0,160}(?:\n[^\n]{0,80})?\b(?:password|passphrase|pass)\b[ :=*`'\"]{1,6}\S|"
        r"\b(?:password|passphrase)\b[^\n]{0,40}\.(?:zip|7z|rar)\b)",
    ),
)

_HARM = (
    _rule(
        "obfuscation.pipe",
        Category.OBFUSCATION,
        Severity.HIGH,
        "It decodes something that nobody can read, and runs it.",
        "base64|xxd|openssl|gunzip|zcat|uudecode|frombase64string|encodedcommand|-enc|rev |tr ",
        rf"(?:\b{_DECODE}[^\n|]{{0,120}}\|(?:[^\n|]{{0,80}}\|){{0,2}}\s{{0,6}}{_RUN}|"
        rf"\b(?:ba|z)?sh\s{{1,4}}(?:-\w\s{{1,4}})?(?:<\(|<<<|[\"']?\$\()[^\n]{{0,200}}{_DECODE}|\beval\s{{1,3}}[\"']?(?:\$\(|`)[^\n]{{0,200}}{_DECODE}|"
        r"\b(?:powershell|pwsh)(?:\.exe)?\b[^\n]{0,80}\s-e(?:nc|ncodedcommand|c)?\s{1,3}[a-z0-9+/=]{20}|"
        r"frombase64string[^\n]{0,200}(?:iex|invoke-expression)|(?:iex|invoke-expression)[^\n]{0,200}frombase64string)",
    ),
    _rule(
        "shell.reverse",
        Category.SHELL,
        Severity.HIGH,
        "It opens a shell to another machine.",
        "/dev/tcp/|/dev/udp/|nc |ncat|netcat|mkfifo|socat|bash -i|pty.spawn|tcpclient|os.dup2|fsockopen",
        r"(?:\b(?:ba|z)?sh\b[^\n]{0,40}[<>&]{1,3}\s{0,3}/dev/(?:tcp|udp)/|/dev/(?:tcp|udp)/[^\s/]{1,80}/\d{1,5}[^\n]{0,40}(?:[<>]&|exec|\bsh\b)|"
        r"\bexec\s{1,3}\d{1,3}<>\s{0,3}/dev/tcp/|\bn(?:c|cat|etcat)\b[^\n|]{0,80}\s-(?:\w{0,6}e|-exec|c)\s{1,3}(?:/bin/|cmd|powershell|(?:ba|z)?sh\b)|"
        r"\bmkfifo\b[^\n]{0,200}\|\s{0,4}n(?:c|cat|etcat)\b|\bsocat\b[^\n]{0,120}\bexec:|"
        r"\bos\.dup2\([^\n]{0,80}fileno|\bpty\.spawn\(\s{0,3}[\"'](?:/bin/)?(?:ba|z)?sh|\btcpclient\([^\n]{0,200}getstream)",
    ),
    _rule(
        "destructive.wipe",
        Category.DESTRUCTIVE,
        Severity.HIGH,
        "It destroys a whole system, disk or home.",
        "rm |mkfs|dd |shred|format |wipefs|remove-item|rmtree|vssadmin|del /|> /dev/|cipher /w",
        r"(?:\brm\s{1,4}(?:-{1,2}[\w-]{1,20}\s{1,4}){1,4}[\"']?(?:/(?:\*|\s|[\"']|$|;|&)|~/?(?:\*|\s|[\"']|$|;|&)|\$home/?(?:\*|\s|[\"']|$|;|&)|/(?:etc|usr|home|boot|bin|lib|var)(?:/\*|/?\s|/?[\"']|/?$))|"
        r"\brm\b[^\n]{0,80}--no-preserve-root|"
        rf"\bmkfs(?:\.\w{{1,8}})?\s{{1,3}}(?:-\w{{1,4}}\s{{1,3}}){{0,3}}{_DISK}|\bdd\b[^\n]{{0,80}}\bof={_DISK}|>\s{{0,2}}{_DISK}|\bwipefs\b[^\n]{{0,20}}-a|"
        r"\bshutil\.rmtree\(\s{0,3}(?:[\"'](?:/|~)[\"']|(?:os\.)?path\.expanduser\([\"']~[\"']\)|(?:pathlib\.)?path\.home\(\))|"
        r"\bremove-item\b[^\n]{0,40}-recurse[^\n]{0,40}\b(?:c:\\?|\$env:userprofile|\$home)(?:[\\/]?\*|\s|$)|\bvssadmin\b[^\n]{0,20}delete|\bformat\s{1,3}c:)",
    ),
    _rule(
        "destructive.ransom",
        Category.DESTRUCTIVE,
        Severity.HIGH,
        "It takes files hostage.",
        "ransom|recover|decrypt|unlock|restore",
        r"(?:\bransom[_ -]?(?:note|demand|message|payment)|\bpay\b[^\n]{0,60}\bto (?:recover|decrypt|unlock|restore)\b[^\n]{0,20}\b(?:files|data|system))",
    ),
    _rule(
        "persistence.schedule",
        Category.PERSISTENCE,
        Severity.HIGH,
        "It sets up a job of its own that fetches or runs something from elsewhere.",
        "crontab|/etc/cron|schtasks|systemctl|launchctl|at now",
        r"(?:\|\s{0,4}crontab\s{1,3}-|>>?\s{0,3}/etc/cron|\bcrontab\b[^\n]{0,10}<<|\bschtasks\b[^\n]{0,20}/create)[^\n]{0,300}(?:curl|wget|https?:|base64|nc |/tmp/|powershell)|"
        r"(?:curl|wget|https?:|base64|/tmp/)[^\n]{0,300}(?:\|\s{0,4}crontab\s{1,3}-|>>?\s{0,3}/etc/cron)",
    ),
    _rule(
        "persistence.start",
        Category.PERSISTENCE,
        Severity.MEDIUM,
        "It changes what starts by itself: jobs, agents, or the start files of a shell.",
        "crontab|/etc/cron|schtasks|systemctl|launchagents|launchdaemons|.bashrc|.zshrc|.profile|.bash_profile|.zshenv|config.fish|authorized_keys|rc.local|currentversion\\run|autostart",
        rf"(?:\|\s{{0,4}}crontab\s{{1,3}}-|>>?\s{{0,3}}/etc/cron|\bsystemctl\b[^\n]{{0,30}}\benable\b|\b(?:cp|mv|tee|cat|ln|install)\b[^\n]{{0,120}}/launch(?:agents|daemons)/|"
        rf">>\s{{0,3}}[\"']?(?:~|\$home|\$\{{home\}})/{_RC}|\b(?:tee|sed)\b[^\n]{{0,120}}/{_RC}|>>?\s{{0,3}}[^\n]{{0,60}}/etc/rc\.local|"
        r"\\currentversion\\run\b|/\.config/autostart/|\bschtasks\b[^\n]{0,20}/create)",
    ),
    _rule(
        "persistence.door",
        Category.PERSISTENCE,
        Severity.HIGH,
        "It lets somebody in: a key is added to those that may log in.",
        "authorized_keys",
        r"(?:>>\s{0,3}[\"']?[^\n\"']{0,60}authorized_keys|\btee\b[^\n]{0,60}authorized_keys|open\([^\n]{0,80}authorized_keys[\"'][^\n]{0,20}[\"']a)",
    ),
    _rule(
        "persistence.hooks",
        Category.PERSISTENCE,
        Severity.HIGH,
        "It makes Git run something of its choice in every repository.",
        "hookspath|sshcommand|fsmonitor|templatedir|gitproxy|credential.helper",
        r"\bgit\s{1,4}config\s{1,4}(?:[\w=./~-]{1,40}\s{1,4}){0,3}?(?:--global|--system)\s{1,4}(?:[\w=./~-]{1,40}\s{1,4}){0,3}?"
        r"(?:core\.(?:hookspath|sshcommand|fsmonitor|gitproxy)|init\.templatedir|credential\.(?:[^\s]{1,80}\.)?helper\s{1,4}[\"']?!)",
    ),
    _rule(
        "persistence.agent",
        Category.PERSISTENCE,
        Severity.MEDIUM,
        "It changes the settings or the memory of the agent that uses it.",
        "claude.md|agents.md|.claude/settings|memory.md|soul.md|.cursorrules|.mcp.json|gemini.md",
        r"(?:\b(?:add|append|write|insert|put|store|inject|copy)\b[^\n]{0,120}\b(?:to|into|in)\b[^\n]{0,60}(?:claude\.md|agents\.md|\.claude/settings(?:\.local)?\.json|"
        r"soul\.md|\.cursorrules|gemini\.md|\.mcp\.json)|>>?\s{0,3}[^\n]{0,60}(?:claude\.md|agents\.md|\.claude/settings|soul\.md|\.cursorrules|\.mcp\.json))",
    ),
    _rule(
        "resources.bomb",
        Category.RESOURCES,
        Severity.HIGH,
        "It makes itself again and again until the machine stands still.",
        ":(){|os.fork()|%0",
        r"(?::\s{0,2}\(\)\s{0,2}\{\s{0,2}:\s{0,2}\|\s{0,2}:\s{0,2}&|while\s{1,3}(?:true|1)\s{0,2}:\s{0,8}os\.fork\(\)|%0\s{0,2}\|\s{0,2}%0)",
    ),
    _rule(
        "command.load",
        Category.COMMAND,
        Severity.MEDIUM,
        "Claude Code runs this command by itself as soon as the skill is loaded.",
        "!`",
        r"(?:^|[\s>:*-])!`[^`\n]{1,300}`",
        Kind.FACT,
    ),
    _rule(
        "command.load_danger",
        Category.COMMAND,
        Severity.HIGH,
        "Claude Code runs this command by itself as soon as the skill is loaded, and it reaches out or looks for secrets.",
        "!`",
        r"(?:^|[\s>:*-])!`[^`\n]{0,200}?(?:curl|wget|nc\b|base64|\|\s{0,3}(?:ba|z)?sh\b|~/\.|\.ssh|\.aws|\.env\b|printenv|\benv\b\s{0,3}(?:\||$|`)|\brm\b|eval|python|node\b|/etc/|https?:)[^`\n]{0,200}`",
        Kind.FACT,
    ),
)

SHELL: tuple[Rule, ...] = (*_REMOTE, *_HARM)
