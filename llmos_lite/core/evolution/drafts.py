"""A draft of a skill, and the one that is written without a model: out of what the traces say."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.evolution.features import content_words, is_function_word, stem
from llmos_lite.core.evolution.steps import Step, recurring, steps_of, tools_in_order
from llmos_lite.core.evolution.success import Verdict
from llmos_lite.volumes.access import ID_LENGTH

HEURISTIC = "heuristic/1"
DESCRIPTION_LENGTH = 1_000
PHRASING_LENGTH = 160
EXAMPLE_LENGTH = 1_200
MOST_PHRASINGS, MOST_KEYWORDS, MOST_PITFALLS = 5, 8, 5
TITLE_WORDS = 7
SHARED = 0.4
"""Share of the wordings that hold a word of the title."""
PRIOR = 0.5
"""Weight of the background in the log-odds of a keyword (Monroe, Colaresi and Quinn 2008, informative Dirichlet)."""

_CATEGORIES = {
    "coding": """api app bug build class cli code commit compil css debug deploy docker endpoint error function git html
        java javascript kubernet lint merg migrat modul packag pipelin pull python refactor regex releas repositori rust
        script server shell sql test typescript unit""",
    "data": """aggreg chart clean column csv dashboard databas dataset excel export filter import json merg metric
        parquet pivot plot queri row spreadsheet sql statist tabl""",
    "writing": """announc articl blog brief copi descript document draft email essay letter memo messag minut newslett
        note poem post present report rewrit speech stori summari summar text tone translat write""",
    "analysis": """analys analysi analyz assess audit budget compar comparison cost decid decis estim evalu explain
        forecast hypothesi investig market option plan priorit research review risk root strategi trade""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one conversation tells, redacted.

    Args:
        goal: what was asked.
        answer: the last answer; empty where only a digest is known or our own offline model spoke.
        verdict: what came of it.
        calls: name and arguments of the tools that were called, in order.
        objections: what the person said against it: corrections, and notes beside a bad rating.
        errors: what went wrong by itself: the model's error, and tools that failed.
    """

    goal: str
    answer: str = ""
    verdict: Verdict = Verdict.COMPLETED
    calls: tuple[tuple[str, str], ...] = ()
    objections: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a draft is made of.

    Args:
        accounts: conversations of the pattern, the most typical first.
        count: how many conversations there are.
        people: how many people had them.
        background: in how many goals of the volume each stem stands.
        goals: how many goals the volume has.
    """

    accounts: Sequence[Account]
    count: int
    people: int = 1
    background: Mapping[str, int] = field(default_factory=dict)
    goals: int = 0

    @property
    def successes(self) -> list[Account]:
        """Return the conversations that worked, confirmed ones first."""
        worked = [account for account in self.accounts if account.verdict.is_success]
        return sorted(worked, key=lambda account: account.verdict is not Verdict.CONFIRMED)

    @property
    def troubles(self) -> list[Account]:
        """Return the others."""
        return [account for account in self.accounts if not account.verdict.is_success]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillDraft:
    """A skill that might be written."""

    title: str
    description: str
    category: str = ""
    keywords: tuple[str, ...] = ()
    phrasings: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    pitfalls: tuple[str, ...] = ()
    example: str = ""
    note: str = ""
    """Stands before the steps."""
    generator: str = HEURISTIC

    @property
    def body(self) -> str:
        """Return the Markdown in the seed's form."""
        sections = {
            "When to Use": _listed(
                "Use this when somebody asks for the like of:", [f'"{one}"' for one in self.phrasings]
            ),
            "Approach": "\n\n".join(filter(None, (self.note, _numbered(self.steps)))),
            "Pitfalls": _listed("", self.pitfalls),
            "Example": self.example,
        }
        parts = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
        return "\n" + "\n\n".join([f"# {self.title}", *parts]) + "\n"


def heuristic_draft(material: Material) -> SkillDraft:
    """Write a draft without a model."""
    goals = [account.goal for account in material.accounts]
    keywords = _keywords(goals, material)
    title = _title(goals, keywords)
    phrasings = tuple(dict.fromkeys(shorten(goal, PHRASING_LENGTH) for goal in goals))[:MOST_PHRASINGS]
    note, steps = _approach(material)
    return SkillDraft(
        title=title,
        description=_description(title, phrasings, keywords, material),
        category=_category(goals),
        keywords=keywords,
        phrasings=phrasings,
        steps=tuple(steps),
        pitfalls=tuple(_pitfalls(material)),
        example=_example(material),
        note=note,
    )


def unique_id(title: str, taken: Collection[str] | Callable[[str], bool]) -> str:
    """Return a skill id made of a title's telling words, with a number where that id is taken."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    said = re.findall(r"[a-z0-9]+", plain.lower())
    telling = [word for word in said if not is_function_word(word)] or said or ["skill"]
    base = ""
    for word in telling:
        longer = f"{base}-{word}" if base else word
        if len(longer) > ID_LENGTH - 4:
            break
        base = longer
    base = base or telling[0][: ID_LENGTH - 4]
    is_taken = taken if callable(taken) else taken.__contains__
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
    return next(name for name in names if not is_taken(name))


def shorten(text: str, length: int) -> str:
    """Return text on one line, cut at a word to at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rsplit(" ", 1)[0] + "…"


def _title(goals: Sequence[str], keywords: Sequence[str]) -> str:
    """Return what the most typical goal shares with the others, in its own order and spelling."""
    shared = Counter(word for goal in goals for word in {stem(word) for word in content_words(goal)})
    for goal in goals:
        said = re.findall(r"[^\W_]+(?:[.'/+#-][^\W_]+)*[+#]*", goal[:400])
        least = max(2, SHARED * len(goals))
        title = _spanned(said, [shared[stem(word.lower())] >= least and not word.isdigit() for word in said])
        if title:
            return title
    return shorten((" ".join(keywords[:3]) or goals[0]).capitalize(), 60)


def _spanned(said: Sequence[str], kept: Sequence[bool]) -> str:
    """Join the kept words, with the function words between two that were neighbours but for these."""
    chosen: list[str] = []
    between: list[str] = []
    count = 0
    for word, keep in zip(said, kept, strict=True):
        if keep and not is_function_word(word.lower()):
            chosen += [*(between if chosen else []), word]
            between, count = [], count + 1
        elif is_function_word(word.lower()):
            between = [*between, word][-2:]
        else:
            between = []
        if count == TITLE_WORDS:
            break
    text = " ".join(chosen)
    return text[:1].upper() + text[1:80] if count > 1 else ""


def _keywords(goals: Sequence[str], material: Material) -> tuple[str, ...]:
    """Return the words that tell these goals from the others of the volume, by log-odds, in their usual form."""
    forms: dict[str, Counter[str]] = {}
    inside: Counter[str] = Counter()
    for goal in goals:
        told = content_words(goal)
        inside.update({stem(word) for word in told})
        for word in told:
            forms.setdefault(stem(word), Counter())[word] += 1
    least = max(2, math.ceil(0.2 * len(goals)))
    scores = {
        word: _log_odds(count, len(goals), material.background.get(word, 0), material.goals)
        for word, count in inside.items()
        if count >= least and not word.isdigit() and len(word) > 1
    }
    best = sorted(scores, key=lambda word: (-scores[word], word))[:MOST_KEYWORDS]
    return tuple(max(forms[word].items(), key=lambda item: (item[1], item[0]))[0] for word in best)


def _log_odds(inside: int, goals: int, everywhere: int, total: int) -> float:
    """Return the log-odds of a word with the background as prior, divided by its standard deviation."""
    outside = max(everywhere - inside, 0)
    rest = max(total - goals, 0)
    a, b = inside + PRIOR, outside + PRIOR
    odds = math.log(a / (goals - inside + PRIOR)) - math.log(b / (rest - outside + PRIOR))
    return odds / math.sqrt(1 / a + 1 / b)


def _description(title: str, phrasings: Sequence[str], keywords: Sequence[str], material: Material) -> str:
    worked = sum(account.verdict.is_success for account in material.accounts)
    whose = f"by {material.people} people " if material.people > 1 else ""
    looked_at = len(material.accounts)
    went = f"{worked} of {looked_at} went well" if worked < looked_at else "none failed or was corrected"
    what = f"{title}: the way that worked, learned from {material.count} conversations {whose}({went})."
    quoted = " or ".join(f'"{one}"' for one in phrasings[:2])
    spoken = f", or when the request speaks of {', '.join(keywords)}" if keywords else ""
    return shorten(f"{what} Use when asked for something like {quoted}{spoken}.", DESCRIPTION_LENGTH)


def _category(goals: Sequence[str]) -> str:
    said = Counter(stem(word) for goal in goals for word in goal.lower().split())
    scores = {name: sum(said[word] for word in listed.split()) for name, listed in _CATEGORIES.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= max(2, len(goals) / 2) else ""


def _approach(material: Material) -> tuple[str, list[str]]:
    """Return a sentence before the steps, and the steps: those that recur, else those of the most typical success."""
    answers = [account.answer for account in material.successes if account.answer]
    steps = [_told(step, len(answers)) for step in recurring(answers)]
    tools = tools_in_order([account.calls for account in material.successes])
    if tools:
        steps.append("Use the tools in this order: " + ", ".join(f"`{name}`" for name in tools) + ".")
    if steps:
        return "", steps
    outline = next((found for answer in answers if len(found := steps_of(answer)[:6]) > 1), [])
    if outline:
        return "No step recurs in these conversations yet; this is how a typical one that worked went:", outline
    return (
        "The conversations tell what was asked, not yet how it was done; edit this section if you know.",
        [
            "Ask for what the request leaves open, one question at a time.",
            "Do what is asked in the form that the person named, and say what you assumed.",
            "Check the result against the request, line by line, before you answer.",
        ],
    )


def _told(step: Step, answers: int) -> str:
    return step.text if step.support == answers else f"{step.text} _(in {step.support} of {answers})_"


def _pitfalls(material: Material) -> list[str]:
    """Return what went wrong: what people objected to, what failed, and steps that stand only in failures."""
    troubles = material.troubles
    objections = [shorten(said, PHRASING_LENGTH) for account in troubles for said in account.objections]
    errors = Counter(shorten(error, PHRASING_LENGTH) for account in troubles for error in account.errors)
    good = {step.text for step in recurring([account.answer for account in material.successes if account.answer])}
    bad = [step.text for step in recurring([account.answer for account in troubles if account.answer])]
    found = [f'Somebody had to say: "{said}"' for said in dict.fromkeys(objections)]
    found += [f"This failed {count} times: {error}" for error, count in errors.most_common() if count > 1]
    found += [f"Stood only in answers that were rejected: {text}" for text in bad if text not in good]
    return found[:MOST_PITFALLS]


def _example(material: Material) -> str:
    best = next((account for account in material.successes if account.answer.strip()), None)
    if best is None:
        return ""
    return f"Asked: {shorten(best.goal, 2 * PHRASING_LENGTH)}\n\nAnswered:\n\n{_quoted(best.answer.strip())}"


def _quoted(answer: str) -> str:
    """Return the start of an answer as a Markdown quotation, so that its headings stay its own."""
    cut = answer if len(answer) <= EXAMPLE_LENGTH else answer[:EXAMPLE_LENGTH].rsplit("\n", 1)[0].rstrip()
    if cut.count("```") % 2:
        cut += "\n```"
    if len(cut) < len(answer):
        cut += "\n…"
    return "\n".join(f"> {line}".rstrip() for line in cut.splitlines())


def _listed(opening: str, items: Sequence[str]) -> str:
    text = "\n".join(f"- {item}" for item in items)
    return f"{opening}\n\n{text}" if opening and text else text


def _numbered(steps: Sequence[str]) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
