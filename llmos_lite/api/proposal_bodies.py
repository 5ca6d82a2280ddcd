"""Proposals as the API shows and takes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from llmos_lite.api.deps import Body
from llmos_lite.api.scan import SignOffOut
from llmos_lite.api.skills import FindingOut
from llmos_lite.core.proposals.events import VERDICTS, Kind
from llmos_lite.core.proposals.service import ProposalView
from llmos_lite.core.proposals.signing import Examined

ROW = {
    "proposal_id": "01KBFW2Q7XN4T9C2Y4R8M0D6ZV",
    "target": "team:sre",
    "source": "user:alice",
    "skill_id": "my-skill",
    "branch": "pr/alice/my-skill",
    "author": "alice",
    "reason": "Useful for team",
    "state": "open",
    "review": "approved",
    "comments": 1,
    "created": 1764720000000,
    "updated": 1764723600000,
    "decided": 0,
    "decided_by": "",
    "decision": "",
    "commit": "",
}


_DIFF = "--- /dev/null\n+++ b/skills/my-skill/SKILL.md\n@@ -0,0 +1 @@\n+# My skill\n"

_DIGEST = "9f2b7c1d4e6a8b0c2d4e6f8091a3b5c7d9ebfd0f1a2b3c4d5e6f708192a3b4c5"


_OPENED = {
    "kind": "opened",
    "at": 1764720000000,
    "by": "alice",
    "text": "Useful for team",
    "path": "",
    "line": 0,
    "paths": [],
    "commit": "",
    "approved_by": [],
    "digest": _DIGEST,
    "outdated": False,
    "erased": False,
}


WHOLE = ROW | {
    "digest": _DIGEST,
    "diff": _DIFF,
    "conflict": False,
    "conflicts": [],
    "seen": "",
    "timeline": [_OPENED, _OPENED | {"kind": "approved", "at": 1764723600000, "by": "bob", "text": "Tried it."}],
    "reviews": [
        {"user_id": "bob", "verdict": "approved", "at": 1764723600000, "digest": _DIGEST, "valid": True},
    ],
    "mergeable": True,
    "obstacles": [],
    "may": ["comment", "review", "merge", "close"],
    "examined": [
        {
            "skill_id": "my-skill",
            "digest": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
            "findings": [],
            "signed_off": None,
        }
    ],
}


MERGED = WHOLE | {
    "state": "merged",
    "commit": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
    "decided": 1764723700000,
    "decided_by": "bob",
    "mergeable": False,
    "obstacles": ["This proposal is merged already."],
    "may": ["comment"],
}


SAID = VERDICTS | {Kind.COMMENTED}

LONGEST_TEXT = 20_000
"""Characters of a text that are looked at; `core` says how many it keeps."""

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


Digest = Annotated[
    str, Field(max_length=64, description="`digest` of what you looked at; refused when something else is proposed.")
]


State = Literal["open", "merged", "closed"]


class ProposalOut(BaseModel):
    """A proposed change to a volume; times are in ms since the epoch, 0 for not yet.

    `review` is what reviewers say of what is proposed now; `decision` why it was closed; `commit` is that of its merge.
    """

    proposal_id: str
    target: str
    source: str
    skill_id: str
    branch: str
    author: str
    reason: str
    state: State
    review: Literal["", "approved", "changes_requested"]
    comments: int
    created: int
    updated: int
    decided: int
    decided_by: str
    decision: str
    commit: str

    @classmethod
    def of(cls, view: ProposalView) -> ProposalOut:
        """Show a proposal."""
        return cls.model_validate(view.proposal, from_attributes=True)


class ConflictOut(BaseModel):
    """A file that main has changed since, in another way: where both parted, as main has it, as it is proposed.

    A side is null where there is no file, or nothing that is text; `cut` says that a text is shortened.
    """

    path: str
    base: str | None
    ours: str | None
    theirs: str | None
    binary: bool
    cut: bool


class EventOut(BaseModel):
    """Something that happened.

    `text` is a comment, or a reason; `outdated` says that it is about what is no longer proposed; `erased` that its
    author took the text back.
    """

    kind: Literal[
        "opened",
        "promoted",
        "renewed",
        "resolved",
        "commented",
        "approved",
        "changes_requested",
        "signed_off",
        "merged",
        "closed",
    ]
    at: int
    by: str
    text: str
    path: str
    line: int
    paths: list[str]
    commit: str
    approved_by: list[str]
    digest: str
    outdated: bool
    erased: bool


class ReviewOut(BaseModel):
    """The last review of somebody; `valid` while exactly what they saw is proposed."""

    user_id: str
    verdict: Literal["approved", "changes_requested"]
    at: int
    digest: str
    valid: bool


class ExaminedOut(BaseModel):
    """A skill as it would stand after the merge: what scanners say of it, and who stood for exactly that version."""

    skill_id: str
    digest: str
    findings: list[FindingOut]
    signed_off: SignOffOut | None

    @classmethod
    def of(cls, one: Examined) -> ExaminedOut:
        """Show it."""
        found = [FindingOut.model_validate(finding, from_attributes=True) for finding in one.findings]
        return cls(skill_id=one.skill_id, digest=one.digest, findings=found, signed_off=SignOffOut.of(one.signed))


class ProposalDetail(ProposalOut):
    """A proposal with what it changes, and what was said about it.

    `digest` names exactly what is proposed, `seen` exactly the conflicts; `mergeable` says whether *you* may merge it
    now, `obstacles` why not, `may` what else you may do.
    """

    digest: str
    diff: str
    conflict: bool
    conflicts: list[ConflictOut]
    seen: str
    timeline: list[EventOut]
    reviews: list[ReviewOut]
    mergeable: bool
    obstacles: list[str]
    may: list[Literal["comment", "review", "sign_off", "merge", "resolve", "close"]]
    examined: list[ExaminedOut]

    @classmethod
    def whole(cls, view: ProposalView) -> ProposalDetail:
        """Show all of a proposal."""
        return cls(
            **ProposalOut.of(view).model_dump(),
            digest=view.digest,
            diff=view.diff,
            conflict=view.conflict,
            conflicts=[ConflictOut.model_validate(one, from_attributes=True) for one in view.conflicts],
            seen=view.seen,
            timeline=_timeline(view),
            reviews=[ReviewOut.model_validate(one, from_attributes=True) for one in view.reviews],
            mergeable=view.mergeable,
            obstacles=list(view.obstacles),
            may=list(view.may),  # type: ignore[arg-type]  # pydantic looks
            examined=[ExaminedOut.of(one) for one in view.examined],
        )


def _timeline(view: ProposalView) -> list[EventOut]:
    return [
        EventOut(
            kind=event.kind.value,
            at=event.at,
            by=event.by,
            text=event.text or event.reason,
            path=event.path,
            line=event.line,
            paths=list(event.paths),
            commit=event.commit or event.head,
            approved_by=list(event.approved_by),
            digest=event.digest,
            outdated=event.kind in SAID and event.digest != view.digest,
            erased=event.erased,
        )
        for event in view.events
    ]


class Comment(Body):
    """What to say, about the whole, a file that is proposed, or a line of it (from 1)."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [{"text": "Which version?", "path": "skills/my-skill/SKILL.md", "line": 7}],
        }
    }
    text: Text
    path: str = Field("", max_length=4096)
    line: int = Field(0, ge=0, le=1 << 24)

    @model_validator(mode="after")
    def _about_a_file(self) -> Comment:
        if self.line and not self.path:
            raise ValueError("a line needs the path of its file")
        return self


class ReviewIn(Body):
    """A verdict; a request for changes says which."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"verdict": "approve", "text": "Tried it.", "digest": _DIGEST}]}
    }
    verdict: Literal["approve", "request_changes"]
    text: Text = ""
    digest: Digest = ""


class MergeIn(Body):
    """What you looked at."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"digest": _DIGEST}]}}
    digest: Digest = ""


class CloseIn(Body):
    """Why."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"reason": "We have this already."}]}}
    reason: Text = ""


class ResolvedFile(Body):
    """What becomes of one file in conflict: one of both versions, or a text."""

    path: str = Field(max_length=4096)
    take: Literal["", "ours", "theirs"] = Field("", description="`ours` is main's version, `theirs` the proposed one.")
    content: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ResolvedFile:
        if bool(self.take) == (self.content is not None):
            raise ValueError("say either take or content")
        return self


class Resolve(Body):
    """A decision about every file in conflict, and `seen` of the conflicts that you looked at."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [{"files": [{"path": "skills/my-skill/SKILL.md", "take": "theirs"}], "seen": _DIGEST}]
        }
    }
    files: list[ResolvedFile] = Field(max_length=1000)
    seen: str = Field("", max_length=64)
