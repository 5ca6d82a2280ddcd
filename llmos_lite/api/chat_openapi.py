"""How `POST /chat` stands in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from llmos_lite.api.openapi import answers
from llmos_lite.core.chat.calls import MOST_TOOLS
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.messages import MOST_SKILLS

_REQUEST = {"message": "Review this pull request for SQL injection", "team_id": "sre", "max_skills": 3}
_SKILL = {
    "skill_id": "code-review",
    "name": "Code review",
    "volume": "team:sre",
    "version": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
    "score": 7.31,
}
_ANSWER = {
    "response": "Two queries are built by string concatenation: ...",
    "skills_used": [_SKILL],
    "trace_id": "01KAKE3VX5N8Q2R7T9W4Y6Z1BD",
    "conversation_id": "01KAKE3VX5C3D5F7G9H1J3K5M7",
    "usage": {"input_tokens": 812, "output_tokens": 240},
    "model": "llama3.2",
    "recorded": True,
    "tool_calls": [],
    "skills_held": [],
    "tool_problems": [],
}
_EVENTS = """\
event: start
data: {"conversation_id":"01KAKE3VX5C3D5F7G9H1J3K5M7","trace_id":"01KAKE3VX5N8Q2R7T9W4Y6Z1BD","skills_used":[...]}

event: delta
data: {"text":"Two queries "}

event: tool
data: {"id":"call_1","name":"load_skill","arguments":"{...}","result":"team:sre/sql-queries","is_error":false}

event: done
data: {"response":"Two queries ...","skills_used":[...],"trace_id":"01KAKE3VX5N8Q2R7T9W4Y6Z1BD",...}

"""
_NULLABLE = {"type": ["string", "null"]}
_NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}
_TEXT = {"type": "string"}
_TAKEN = {"type": "object", "description": "JSON schema of an object."}
_FUNCTION = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _NAME, "description": _TEXT, "parameters": _TAKEN},
}
_ANTHROPICS = {
    "type": "object",
    "required": ["name", "input_schema"],
    "description": "The same in the form of Anthropic's messages.",
    "properties": {"name": _NAME, "description": _TEXT, "input_schema": _TAKEN},
}

_SCHEMAS: dict[str, Any] = {
    "ChatRequest": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "message": {"type": "string", "description": "What you say; may be left out beside `tool_results`."},
            "conversation_id": _NULLABLE | {"description": "Conversation to go on with; leave it out to begin one."},
            "team_id": _NULLABLE | {"description": "Team in whose context this is; one of your own."},
            "stream": {
                "type": ["boolean", "null"],
                "description": "true answers with server-sent events, as `Accept: text/event-stream` does.",
            },
            "max_skills": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": MOST_SKILLS,
                "description": "Most skills in the context.",
            },
            "disclosure": {
                "type": ["string", "null"],
                "enum": [*(mode.value for mode in Disclosure), None],
                "description": "What a model that can call tools gets: the texts of the skills that fit best and a "
                "catalog of further ones (`auto`), texts alone, or a catalog alone. Others get texts.",
            },
            "tools": {
                "type": "array",
                "maxItems": MOST_TOOLS,
                "description": "Tools that you run yourself; their calls come back in `tool_calls`.",
                "items": {
                    "anyOf": [
                        _FUNCTION,
                        {
                            "type": "object",
                            "required": ["function"],
                            "description": "The same in the form of OpenAI's chat completions.",
                            "properties": {"type": {"const": "function"}, "function": _FUNCTION},
                        },
                        _ANTHROPICS,
                    ]
                },
            },
            "tool_choice": {
                "description": "`auto`, `none`, `required`, or the name of one of your tools; OpenAI's and Anthropic's "
                "objects say the same.",
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "required": ["function"],
                        "properties": {
                            "type": {"const": "function"},
                            "function": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {"name": {"type": "string"}},
                            },
                        },
                    },
                    {
                        "type": "object",
                        "required": ["type"],
                        "properties": {
                            "type": {"type": "string", "enum": ["auto", "any", "tool", "none"]},
                            "name": {"type": "string"},
                        },
                    },
                ],
            },
            "tool_results": {
                "type": "array",
                "maxItems": MOST_TOOLS,
                "description": "What the calls of the last answer gave.",
                "items": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {
                        "id": {"type": "string"},
                        "content": {"type": "string"},
                        "is_error": {"type": "boolean"},
                        "approved": {
                            "type": ["boolean", "null"],
                            "description": "For a call that waits for your leave: whether it may be run.",
                        },
                    },
                },
            },
        },
    },
    "SkillUse": {
        "type": "object",
        "required": ["skill_id", "name", "volume", "version", "score"],
        "properties": {
            "skill_id": {"type": "string"},
            "name": {"type": "string"},
            "volume": {"type": "string", "description": "`system`, `team:ID` or `user:ID`."},
            "version": {"type": "string", "description": "Git id of the skill's entry."},
            "score": {"type": "number"},
        },
    },
    "HeldSkill": {
        "type": "object",
        "required": ["skill_id", "name", "volume", "version", "held_for"],
        "properties": {
            "skill_id": {"type": "string"},
            "name": {"type": "string"},
            "volume": {"type": "string", "description": "`system`, `team:ID` or `user:ID`."},
            "version": {"type": "string", "description": "Git id of the skill's entry."},
            "held_for": {"type": "array", "items": {"type": "string"}, "description": "Codes of what was found."},
        },
    },
    "ChatAnswer": {
        "type": "object",
        "required": [
            "response",
            "skills_used",
            "trace_id",
            "conversation_id",
            "usage",
            "model",
            "recorded",
            "tool_calls",
            "skills_held",
            "tool_problems",
        ],
        "properties": {
            "response": {"type": "string"},
            "skills_used": {"type": "array", "items": {"$ref": "#/components/schemas/SkillUse"}},
            "trace_id": _NULLABLE | {"description": "null when nothing was recorded."},
            "conversation_id": _NULLABLE | {"description": "null when a conversation began unrecorded."},
            "usage": {
                "type": "object",
                "required": ["input_tokens", "output_tokens"],
                "properties": {"input_tokens": {"type": "integer"}, "output_tokens": {"type": "integer"}},
            },
            "model": {"type": "string"},
            "recorded": {"type": "boolean"},
            "tool_calls": {
                "type": "array",
                "description": "Calls of your tools; answer them in `tool_results` of the conversation's next message.",
                "items": {
                    "type": "object",
                    "required": ["id", "name", "arguments", "approval"],
                    "properties": {
                        "id": {"type": "string"},
                        "name": {"type": "string"},
                        "arguments": {"type": "string", "description": "JSON, as the model wrote it."},
                        "approval": {"type": "boolean", "description": "Whether it waits for your leave to be run."},
                    },
                },
            },
            "skills_held": {
                "type": "array",
                "description": "Skills that would be in the context, if no scanner held them back; none as a rule.",
                "items": {"$ref": "#/components/schemas/HeldSkill"},
            },
            "tool_problems": {
                "type": "array",
                "description": "Tool servers that could not be used, why, and what to do.",
                "items": {
                    "type": "object",
                    "required": ["server", "code", "message", "hint"],
                    "properties": {
                        "server": {"type": "string"},
                        "code": {"type": "string", "description": "As of a problem: `tool_server.sign_in`."},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                },
            },
        },
    },
}

_RESPONSES = answers(_ANSWER, 404, 409, 413, 502, 504, 507, description="The answer; its trace is durable.")
_RESPONSES[200]["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/ChatAnswer"}
# without a schema: before OpenAPI 3.2 it says what one event is for some readers, and the whole stream for others
_RESPONSES[200]["content"]["text/event-stream"] = {"example": _EVENTS}
_RESPONSES[200]["headers"] = {
    "X-LLMOS-Trace": {"description": "Id of the trace, when one is kept.", "schema": {"type": "string"}}
}

OPENAPI: dict[str, Any] = {
    "paths": {
        "/chat": {
            "post": {
                "tags": ["chat"],
                "operationId": "chat",
                "summary": "Chat with the skills that fit in the context",
                "description": (
                    "Chooses skills of yours, your teams and the system, asks the model, and answers when the trace "
                    "is durable. A model that can call tools may load further skills by `load_skill` and find them by "
                    "`search_skills`, which the server answers; they are in `skills_used`, too. "
                    "As events: `start` (skills, ids), `delta` (text) as it comes, `tool` for each call that was "
                    "answered, then `done` with the fields of the JSON answer, or `error` with a problem. A model that "
                    "fails is an error with `trace_id`; a client that goes away ends the request to the model, and its "
                    "trace says `aborted`."
                ),
                "parameters": [
                    {
                        "name": "X-LLMOS-Record",
                        "in": "header",
                        "required": False,
                        "description": "`off` keeps this chat out of the traces; only a count is kept.",
                        "schema": {"type": "string", "enum": ["on", "off"]},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/ChatRequest"},
                            "example": _REQUEST,
                        }
                    },
                },
                "responses": {str(status): response for status, response in _RESPONSES.items()},
            }
        }
    },
    "components": {"schemas": _SCHEMAS},
}
