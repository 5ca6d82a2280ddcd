"""Rules for words that are addressed to a model: taking its instructions over, keeping a person in the dark."""

from __future__ import annotations

import re

from llmos_lite.core.skills.scan import Category, Severity
from llmos_lite.core.skills.scanning.programs import SECRET_PLACE
from llmos_lite.core.skills.scanning.rule import Kind, Rule, bounded

_PRIOR = r"(?:previous|prior|above|earlier|preceding|existing|system|former|original|built-in|default|safety)"
_ORDERS = r"(?:instructions?|prompts?|rules|directives?|guidelines|guardrails|constraints|policies|policy|training)"
_THING = (
    r"(?:conversation|chat (?:history|log)|session (?:data|history)|messages?|transcript|file contents?|contents of|"
    r"source code|files?|credentials?|secrets?|passwords?|api[ -]?keys?|tokens?|environment(?: variables)?|env vars?|"
    r"private keys?|user data|user input|personal (?:data|information)|clipboard|keystrokes|context|results?|output|"
    r"responses?|answers?|data)"
)
_SEND = r"(?:send|posts?|upload|forward|transmit|submit|exfiltrate|leak|e-?mail|report back|copy|sync|deliver)"
_PERSON = r"(?:the |your |any )?(?:users?|human|person|developer|owner|operator|them|anyone|anybody)"
_HIDE = r"(?:tell|inform|notify|alert|mention|reveal|disclose|show|report|warn|let|say|explain|display)"
_ACT = (
    r"(?:curl|wget|upload|send|post|append|execut|run|exfiltrat|transmit|forward|delete|install|download|copy|read|"
    r"credential|secret|token|password|api key|\.env|\.ssh)"
)


def _rule(  # noqa: PLR0917 - what a rule is
    code: str,
    category: Category,
    severity: Severity,
    message: str,
    words: str,
    source: str,
    near: tuple[re.Pattern[str], ...] = (),
) -> Rule:
    return Rule(code, category, severity, message, tuple(words.split("|")), bounded(source), Kind.ADVICE, near=near)


_PLACE = (
    rf"(?:{SECRET_PLACE}|(?<![\w.])\.env\b(?!\.(?:example|sample|template|dist|test))|\b(?:all|whole|entire|every|full)(?: of)?(?: the| your| its)? "
    r"(?:environment(?: variables?)?|env vars?|shell history)\b|\b(?:bash|zsh|shell)_?[ -]?history\b)"
)
"""Where secrets are kept, and nobody else than their owner has business."""
_CARRY = (
    r"(?:send|sends|sending|post|posts|posting|upload|uploads|uploading|forward|transmit|submit|exfiltrate|leak|e-?mail|deliver|append|attach|"
    r"encode|embed|share|report|push|curl|smuggle|beam|relay|pass|publish|paste)"
)
_CARRIED = bounded(
    rf"\b(?:contents?|text|bytes) (?:of|from) (?:the |my |your )?[^\s]{{0,24}}{_PLACE}|\b{_CARRY} (?:(?:it|them|this|that|these|those|its|their|everything|(?:the|all) (?:[a-z0-9-]{{1,14}} ){{0,3}}(?:files?|contents?|keys?|values?|outputs?|results?|data|text|"
    rf"string|blob|archive|base64))\b|(?:[^\s.!?]{{1,24}} ){{0,6}}[^\s]{{0,24}}{_PLACE})"
)
"""A verb, and what it carries: the secret itself, or a word that stands for it."""
_ELSEWHERE = bounded(
    r"\b(?:to|at|via|into|towards|post|put|with|over|using) (?:[a-z'-]{1,14}:? ){0,4}[<(\"'`]?(?:https?://(?!localhost|127\.)|wss?://|ftp://|"
    r"[a-z0-9._-]{1,40}@[a-z0-9-]{1,40}\.[a-z]|[a-z]{0,12} ?webhook)"
)
_IN_ANSWERS = bounded(
    r"\b(?:in|into|to|with|at the end of|inside) (?:your|the|every|each|any|all)(?: (?:next|final|last|first|own))? (?:answers?|repl(?:y|ies)|responses?|outputs?|messages?|summary)\b"
)
_IN_A_LINK = bounded(
    r"\b(?:link|image|picture|markdown|url|pixel|address)\b[^\n]{0,120}https?://|https?://[^\s]{1,120}[?&][a-z_]{1,20}="
)
_PLACES = (
    ".ssh|id_rsa|id_ed25519|id_ecdsa|.aws|.netrc|.git-credentials|.npmrc|.pypirc|.kube/config|.docker/config|.gnupg|keychain|login data|"
    "cookies.sqlite|logins.json|key4.db|/etc/shadow|wallet.dat|gh/hosts|.azure/|gcloud|application_default|metamask|.credentials|.env|"
    "environment|env vars|env var|history"
)


PROSE: tuple[Rule, ...] = (
    _rule(
        "injection.override",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model to drop its other instructions.",
        "ignore|disregard|forget|override|bypass|discard|supersede",
        r"\b(?:ignore|disregard|forget|override|bypass|discard|supersedes?) (?:(?:all|any|every|each|everything|of|the|"
        rf"your|these|those|its|my|other) ){{0,4}}{_PRIOR} (?:[a-z]{{1,12}} ){{0,2}}{_ORDERS}\b",
    ),
    _rule(
        "injection.override",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model to drop its other instructions.",
        "ignore|disregard|forget",
        r"\b(?:ignore|disregard|forget) (?:all|any|everything)(?: (?:of|the|your|other|that))?(?: what)? ?(?:you (?:were|have been)"
        r" (?:told|taught|given)|(?:instructions|rules|directives)(?: (?:above|before this|given (?:above|so far|to you)|from (?:the )?(?:system|"
        r"developer|user))|[.!]|$))",
    ),
    _rule(
        "injection.override",
        Category.INJECTION,
        Severity.HIGH,
        "It says that it replaces the model's instructions.",
        "new instructions|these instructions|this file|this skill|this prompt|following instructions",
        r"\b(?:your new instructions (?:are|follow)|(?:these instructions|this (?:file|skill|prompt)|the following "
        r"instructions) (?:overrides?|supersedes?|replaces?|takes? (?:precedence|priority) over)"
        rf" (?:all |any |every |the |your ){{0,3}}(?:{_PRIOR} ?|other |user'?s? |developer ){{1,3}}(?:{_ORDERS}|messages?))",
    ),
    _rule(
        "injection.override",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model to drop its other instructions.",
        "ignor|vergiss|vergess|missacht|verwirf|verwerf|oubli|olvid|descart|dimentic|trascur|esque|desconsider|pas compte",
        r"\b(?:ignor(?:e|ez|er|a|ad|ar|ate|are|en|ier\w{1,3})|vergiss|vergessen?|missachten?|verw[ei]rfe?n?|oublie[zr]?|(?:tene?z?|tiens) pas compte|olvid(?:a|e|ad|ar)|descart(?:a|e|ad|ar)|"
        r"dimentic(?:a|ate|are)|trascur(?:a|ate|are)|esque(?:\u00e7a|ce|cer|ca)|desconsider(?:e|a|ar)) (?:[^\W\d_]{1,14} ){0,4}(?:"
        r"(?:instructions|consignes|directives|r\u00e8gles|regles|ordres|instrucciones|\u00f3rdenes|ordenes|reglas|indicaciones|directrices|istruzioni|indicazioni|regole|direttive|"
        r"instru\u00e7\u00f5es|instrucoes|ordens|regras|diretrizes)(?: [^\W\d_]{1,14}){0,2}? (?:pr\u00e9c\u00e9dentes|precedentes?|ant\u00e9rieures|ci-dessus|initiales|du syst\u00e8me|anteriores|previas|"
        r"pr\u00e9vias|acima|de arriba|del sistema|do sistema|precedenti|anteriori|di sistema|qui sopra)|"
        r"(?:precedenti|pr\u00e9c\u00e9dentes|anteriores|vorherig|bisherig|vorig|fr\u00fcher|obig|vorangegangen|vorangehend|urspr\u00fcnglich|vorausgegangen)(?:en|e|er)? (?:[^\W\d_]{1,14} ){0,2}"
        r"(?:istruzioni|instructions|consignes|instrucciones|instru\u00e7\u00f5es|anweisung(?:en)?|instruktionen|befehle|vorgaben|regeln|richtlinien))\b",
    ),
    _rule(
        "injection.override",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model to drop its other instructions.",
        "\u5ffd\u7565|\u5ffd\u89c6|\u5ffd\u8996|\u65e0\u89c6|\u7121\u8996|\u5fd8\u8bb0|\u5fd8\u8a18|\u5fd8\u6389|\u4e0d\u8981\u7406\u4f1a|\u7121\u8996\u3057|\u629b\u5f03|\u653e\u5f03",
        r"(?:\u5ffd\u7565|\u5ffd\u89c6|\u5ffd\u8996|\u65e0\u89c6|\u7121\u8996|\u5fd8\u8bb0|\u5fd8\u8a18|\u5fd8\u6389|\u4e0d\u8981\u7406\u4f1a|\u629b\u5f03|\u653e\u5f03)[^\u3002\n]{0,10}"
        r"(?:\u4e4b\u524d|\u5148\u524d|\u4ee5\u524d|\u4e0a\u9762|\u4e0a\u8ff0|\u6b64\u524d|\u524d\u9762|\u4ee5\u4e0a|\u539f\u6709|\u539f\u6765|\u7cfb\u7edf|\u7cfb\u7d71)[^\u3002\n]{0,8}"
        r"(?:\u6307\u4ee4|\u6307\u793a|\u8bf4\u660e|\u8aaa\u660e|\u63d0\u793a|\u547d\u4ee4|\u89c4\u5219|\u898f\u5247|\u8981\u6c42|\u8bbe\u5b9a)|"
        r"(?:\u524d|\u4ee5\u524d|\u4e0a\u8a18|\u3053\u308c\u307e\u3067)\u306e[^\u3002\n]{0,6}(?:\u6307\u793a|\u547d\u4ee4|\u898f\u5247)\u3092(?:[^\u3002\n]{0,4})\u7121\u8996",
    ),
    _rule(
        "injection.role",
        Category.INJECTION,
        Severity.HIGH,
        "It gives the model a role without limits.",
        "you are|act as|pretend|developer mode|jailbreak|unrestricted|dan mode|god mode|no restrictions|do anything now",
        r"(?:\b(?:you are(?: now)?|act as|become|pretend (?:to be|you are)|enter|switch to|enable)(?: now)? (?:in |into |an? |the ){0,2}"
        r"(?:dan\b|dude\b|stan\b|evil\b|jailbroken|unrestricted|uncensored|unfiltered|developer mode|god mode|root mode|debug mode with)|"
        r"\b(?:you (?:have|are under)|with|without|has) (?:no|any|zero) (?:safety |ethical |content |moral )?"
        r"(?:restrictions|limitations|guidelines|guardrails|filters|ethics|policies)\b(?: (?:or|and) [a-z]{1,20}){0,2}"
        r"[^\n]{0,40}\b(?:must|comply|answer|anything|whatever|obey)|\bdo anything now\b)",
    ),
    _rule(
        "injection.policy",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model that its policies do not count.",
        "polic|safety|guardrail|guideline|filter|restriction|ethic|moderation",
        r"(?:\b(?:bypass|circumvent|disable|disregard|forget|ignore|override|turn off|evade|suspend|deactivate|skip|remove) (?:all |any |the |your |its |every ){0,3}"
        r"(?:(?:safety|content|security|ethical|moderation|usage|openai|anthropic|model) ){1,2}(?:checks?|polic(?:y|ies)|filters?|"
        r"guidelines?|guardrails?|restrictions?|rules|measures|mechanisms?|protocols?|controls|training)\b|"
        r"\b(?:safety|content|usage|ethical|moderation) (?:polic(?:y|ies)|guidelines|filters|rules|restrictions) "
        r"(?:do(?:es)? not|don't|doesn't|no longer|are not|aren't|is not|need not) (?:apply|matter|count|exist|active|in effect))",
    ),
    _rule(
        "injection.prompt",
        Category.INJECTION,
        Severity.HIGH,
        "It asks for the system prompt.",
        "prompt|instructions",
        r"\b(?:print|reveal|show|output|repeat|display|leak|dump|return|include|echo|disclose|reproduce) (?:me |us |out |all |of |back ){0,2}"
        r"(?:your|the(?: agent's| model's| assistant's)?|its) (?:full |entire |complete |exact |hidden |initial |original |internal |secret ){0,3}"
        r"(?:system|developer|hidden|initial|secret) (?:prompts?|instructions|messages?)\b",
    ),
    _rule(
        "injection.autonomy",
        Category.INJECTION,
        Severity.HIGH,
        "It tells the model to act without the consent that a person wants to give.",
        "without|never ask|don't ask|do not ask|not wait|never wait|skip|no confirmation|approv|accept|grant|yes|allow",
        r"(?:\b(?:approve|accept|allow|grant|call|send|upload|remove|overwrite|push|write|confirm|run|execute|perform|proceed|delete|install|act|apply|modify|continue|operate|commands?|action)\b[^.\n]{0,80}"
        r"\bwithout (?:ever |first )?(?:asking|requesting|waiting for|requiring|seeking|needing)(?: for)?"
        r" (?:the |any |an? |your |explicit )?(?:user|human|person|owner|permission|consent|approval|confirmation|authori[sz]ation)s?\b|"
        r"\b(?:never|don't|do not) ask (?:the user |for ){0,2}(?:permission|confirmation|approval|consent)\b[^.\n]{0,60}\b(?:any|all|every)\b|"
        r"\b(?:never|don't|do not) (?:ask|wait|prompt) (?:the user |them |anybody |anyone |for ){0,3}(?:permission|confirmation|approval|consent)\b[^.\n]{0,60}\b"
        r"(?:(?:before|when|if|to)(?: you| it)? (?:run|execut|delet|send|remov|overwrit|install|push|pay|transfer|upload|publish|deploy)|just (?:run|execute|do))|"
        r"\b(?:always|automatically|auto|just|simply) ?-?(?:answer|say|reply|respond|click|press|type|choose|select|enter)(?: with)? [\"'`]?(?:yes|y|ok|allow|approve|accept|always allow)[\"'`]?"
        r" (?:to|for|on|in|at|when)\b[^.\n]{0,60}\b(?:permissions?|approvals?|confirmations?|consent|security|trust|tool)\b|"
        r"\b(?:always|automatically|auto|blindly) ?-?(?:approve|accept|allow|grant|confirm) (?:[a-z]{1,12} ){0,3}(?:permissions?|tool (?:calls?|uses?)|commands?|approvals?|confirmations?|"
        r"prompts?)\b|\b(?:approve|accept|grant|allow) (?:all|every|any|each) (?:[a-z]{1,12} ){0,2}(?:permissions?|tool (?:calls?|uses?)|permission (?:prompts?|requests?|dialogs?)|"
        r"(?:security|trust) (?:prompts?|dialogs?))\b)",
    ),
    _rule(
        "resources.endless",
        Category.RESOURCES,
        Severity.MEDIUM,
        "It tells the model to go on without an end.",
        "indefinitely|forever|never stop|without limit|endless|infinite",
        r"(?:\b(?:retry|try again|keep (?:trying|going|running|retrying)|repeat|loop|continue|run)(?: (?:this|it|the [a-z]{1,14}|all [a-z]{1,14}))? "
        r"(?:indefinitely|forever|endlessly|infinitely|without (?:any )?limit)|\bnever stop (?:retrying|trying|looping|calling))\b",
    ),
    _rule(
        "injection.markup",
        Category.INJECTION,
        Severity.HIGH,
        "It imitates the marks between a system prompt and a person's message.",
        "im_start|<system>|[system]|[/inst]|<<sys>>|</system>|start_header_id",
        r"(?:<\|(?:im_start|system|start_header_id)\|>|<<sys>>|\[/inst\]|</?system>|^[ \t]{0,4}\[system\])"
        r"[^\n]{0,200}(?:you (?:are|must|will|should)|ignore|new (?:rules|role|instructions)|override|obey|mode|do not)",
    ),
    _rule(
        "concealment.act",
        Category.CONCEALMENT,
        Severity.HIGH,
        "It does something that the person is not to know of.",
        "without|do not|don't|never|hidden from|secret|silently|quietly|covert|unnoticed",
        rf"(?:\b{_ACT}[^\n]{{0,200}}?\b(?:without (?:{_HIDE}ing|the knowledge of|the user'?s? (?:knowledge|noticing|knowing))|"
        rf"(?:do not|don't|never|must not|should not) (?:ever )?{_HIDE} (?:this |it |that |anything |about |of |any ){{0,3}}"
        rf"(?:[a-z]{{1,14}} ){{0,3}}(?:to )?{_PERSON}\b|(?:keep|stay|remain|hidden|hide)[^.\n]{{0,30}} (?:from|to) {_PERSON}\b)|"
        rf"\b(?:without {_HIDE}ing|(?:do not|don't|never) (?:ever )?{_HIDE} (?:this |it |that |about )?(?:[a-z]{{1,14}} ){{0,2}}(?:to )?)"
        rf" ?{_PERSON}\b[^\n]{{0,120}}\b(?:curl|wget|upload|send (?:it|them|the)|exfiltrat|credential|password|private key))",
    ),
    _rule(
        "concealment.hidden",
        Category.CONCEALMENT,
        Severity.HIGH,
        "It asks the model to keep something from the person.",
        "from the user|the user's knowledge|user knowing|user noticing|user's awareness|to the user|the human|user|human|operator",
        r"(?:\b(?:user|human|operator|person|owner)s? (?:(?:must|should|shall|may)(?:n't| not| never)|(?:is|are)(?:n't| not| never) to|has? to never)(?: ever)? "
        r"(?:know|learn|find out|be (?:told|informed|aware|alerted|notified)|become aware|hear|suspect)\b(?: (?:about|of|that|this|it|what|anything)\b|[.!\n]|$)|\b(?:keep|hide|conceal)(?: this| it| that| the [a-z]{1,12}| all of this| these)?(?: step| action| fact| operation)?"
        r"(?: secret| hidden| invisible)? from (?:the |your )?(?:user|human|operator)s?\b|\b(?:secretly|covertly|silently|quietly|stealthily) "
        r"(?:send|upload|post|transmit|exfiltrate|copy|collect|forward|record|log|execute|run|append|add|inject|modify|install)\b"
        r"[^.\n]{0,160}\b(?:user|human|them)\b)",
    ),
    _rule(
        "concealment.talk",
        Category.CONCEALMENT,
        Severity.LOW,
        "It tells the model what not to mention to the person.",
        "to the user|tell the user|inform the user|notify the user",
        rf"\b(?:do not|don't|never|without) {_HIDE}(?:ing)? (?:this |it |that |about |the ){{0,2}}(?:[a-z]{{1,14}} ){{0,4}}(?:to )?the user\b",
    ),
    _rule(
        "exfiltration.request",
        Category.EXFILTRATION,
        Severity.HIGH,
        "It has the model send what it knows to an address.",
        "http://|https://|webhook|@",
        rf"\b{_SEND}(?:ing|s)? (?:[a-z'-]{{1,14}},? ){{0,6}}(?:conversation|chat (?:history|log)|session (?:data|history)|transcript|file contents?|"
        r"contents of|source code|credentials?|secrets?|passwords?|api[ -]?keys?|access tokens?|environment variables|env vars?|private keys?|user data|"
        r"user'?s? (?:input|messages?|data|files|queries)|all (?:files|data|messages|results|tool outputs?)|personal (?:data|information)|keystrokes)"
        rf"[^\n]{{0,160}}?(?:\bto|\bvia|\bat|\bat:|:) [^\n]{{0,60}}?(?:https?://|webhook|[a-z0-9._-]{{1,40}}@[a-z0-9-]{{1,40}}\.[a-z])",
    ),
    _rule(
        "exfiltration.request",
        Category.EXFILTRATION,
        Severity.HIGH,
        "It has the model send what it knows to an address.",
        _PLACES,
        _PLACE,
        (_CARRIED, _ELSEWHERE),
    ),
    _rule(
        "exfiltration.request",
        Category.EXFILTRATION,
        Severity.HIGH,
        "It has the model send what it knows to an address.",
        "environment|env var|_key|_token|_secret|_password|api key|.env|private key",
        r"(?:\benvironment variables?\b|\benv vars?\b|\b[a-z0-9]{2,30}(?:_[a-z0-9]{1,20}){0,3}_(?:key|token|secret|password)\b|\b(?:api|private)[ -]keys?\b|(?<![\w.])\.env\b)",
        (
            _IN_ANSWERS,
            _IN_A_LINK,
            bounded(r"\b(?:include|append|add|embed|put|encode|write|insert|place|attach|append)\b"),
        ),
    ),
    _rule(
        "exfiltration.beacon",
        Category.EXFILTRATION,
        Severity.HIGH,
        "A picture's address would carry parts of the conversation away.",
        "](http|src=",
        r"(?:!\[[^\]\n]{0,120}\]\(|<img[^>\n]{0,80}\bsrc=[\"']?)https?://[^\s)\"'>]{1,200}[?&;=/][^\s)\"'>]{0,40}(?:\{\{?|\$\{?|<|\[|%7b)[ ]?"
        r"[a-z_ .-]{0,30}(?:conversation|message|history|context|prompt|data|content|secret|token|key|env|input|response|"
        r"answer|summary|query|base64|encoded|password|email|user)",
    ),
    _rule(
        "remote.instructions",
        Category.REMOTE_CODE,
        Severity.HIGH,
        "It makes the model follow what stands at an address, which may change at any time.",
        "http://|https://",
        r"\b(?:fetch|download|load|read|get|retrieve|open|visit|curl|pull|go to|check)\b[^\n]{0,80}?https?://[^\s)>\"'`]{1,200}[^\n]{0,60}?"
        r"\b(?:and|then|,)\b[^\n]{0,40}?\b(?:follow|execute|obey|carry out|apply|run|do|adopt)\b[^\n]{0,40}?\b(?:instructions?|steps|commands?|"
        r"directives?|whatever|prompt|code (?:it|there)|what it says|everything)\b",
    ),
)
