"""Short everyday requests to the starter skills and to skills made of the templates, as people type them into a chat.

Invented before any of them was searched. Each names the skills that would do. `DEV` may be looked at, `HELD` is only
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEV: Mapping[str, Sequence[str]] = {
    "can you look over my code?": ("code-review", "code-review-checklist"),
    "my script keeps crashing": ("debugging",),
    "clean up this csv": ("data-cleaning",),
    "make a bar chart of these numbers": ("charts",),
    "summarize this article for me": ("document-summary",),
    "write a reply to this customer": ("email-drafts",),
    "good commit message for this?": ("git-commits",),
    "we had an outage last night, write it up": ("incident-review", "incident-response"),
    "minutes from this call please": ("meeting-notes",),
    "pros and cons of react vs vue": ("option-comparison", "decision-record"),
    "script to rename my photos": ("python-scripts",),
    "why is this query so slow": ("sql-queries", "debugging"),
    "I need a weekly update for my boss": ("status-report", "email-drafts"),
    "help me with a readme": ("technical-docs",),
    "write tests for this function": ("unit-tests",),
    "what does this data tell us": ("data-analysis", "data-analysis-recipe"),
    "sales dropped in March, why?": ("data-analysis", "data-analysis-recipe"),
    "fix this error": ("debugging",),
    "tell my landlord the heating is broken": ("email-drafts",),
    "I committed to the wrong branch": ("git-commits",),
    "how do I undo my last commit": ("git-commits",),
    "how do I get our orders through the API": ("api-client",),
    "what do I check before we release": ("release-checklist",),
    "new colleague starts on Monday": ("onboarding-guide",),
    "we move from MySQL to Postgres, how": ("migration-guide",),
    "site is down, what now": ("runbook", "incident-response"),
    "make this sound more like us": ("writing-style-guide",),
    "write down why we chose Kafka": ("decision-record",),
    "what should we test before launch": ("test-plan", "release-checklist"),
    "shorten this email": ("email-drafts",),
}

HELD: Mapping[str, Sequence[str]] = {
    "any bugs in this?": ("code-review", "debugging"),
    "check my pull request": ("code-review", "code-review-checklist"),
    "this doesn't work anymore": ("debugging",),
    "the test fails only sometimes": ("debugging", "unit-tests"),
    "remove duplicates from my spreadsheet": ("data-cleaning",),
    "the dates in this file are a mess": ("data-cleaning",),
    "which chart should I use": ("charts",),
    "plot this": ("charts",),
    "tl;dr of this report": ("document-summary",),
    "what are the key points here": ("document-summary",),
    "politely say no to this invitation": ("email-drafts",),
    "remind a client about an unpaid invoice": ("email-drafts",),
    "squash these commits": ("git-commits",),
    "write a postmortem": ("incident-review",),
    "turn my notes into action items": ("meeting-notes",),
    "which laptop should we buy": ("option-comparison",),
    "should we go with AWS or Azure": ("option-comparison", "decision-record"),
    "download all images from this page": ("python-scripts",),
    "count users per country": ("sql-queries",),
    "join these two tables": ("sql-queries", "data-cleaning"),
    "progress report for the client": ("status-report",),
    "document this function": ("technical-docs",),
    "explain how to install it": ("technical-docs", "cli-how-to"),
    "add pytest coverage": ("unit-tests",),
    "did the new button help?": ("data-analysis", "data-analysis-recipe"),
    "call the billing API from Python": ("api-client",),
    "who does what during an outage": ("incident-response", "runbook"),
    "restart the payment service": ("runbook",),
    "are we ready to ship": ("release-checklist",),
    "rewrite this in our tone": ("writing-style-guide", "email-drafts"),
}
