"""What clients send on the side, and small talk: requests that need no skill, whatever they mention.

All of it is invented after the kinds of calls that chat front ends and coding agents make beside the conversation.
`FITTED` was looked at while the rules were written, `HELD_OUT` only to check them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

TALKS = (
    "USER: Review my pull request for SQL injection\nASSISTANT: Line 14 builds the query from user input.",
    "USER: how do I merge two PDF files with Python?\nASSISTANT: Use pypdf and append both readers.",
    "USER: draft an email to the customer about the outage\nASSISTANT: Subject: What happened on Tuesday",
    "USER: our Kubernetes pods restart every hour\nASSISTANT: Look at the memory limits first.",
)
HELD_TALKS = (
    "user: write unit tests for the invoice parser\nassistant: Here are four tests with pytest.",
    "Human: plan a content calendar for our launch\n\nAssistant: Week one: announce the beta.",
    "user: why is this postgres query slow\nassistant: It scans the whole table; add an index.",
    "Human: turn these meeting notes into minutes\n\nAssistant: Decisions: ship on Friday.",
)

FITTED: Mapping[str, Sequence[str]] = {
    "title": (
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n<chat_history>\n{talk}\n</chat_history>",
        "Please write a 5-10 word title for the following conversation:\n\n{talk}",
        "Generate a title for this conversation:\n\n{talk}",
        "{talk}\n\nGive this chat a short name, at most four words, without quotes.",
        "Summarize this coding conversation in under 50 characters. Capture the main task.\n\n{talk}",
    ),
    "tags": (
        "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.\n{talk}",
        "Return a JSON array of topics that this conversation is about, nothing else.\n\n{talk}",
    ),
    "follow-ups": (
        "### Task:\nSuggest 3-5 relevant follow-up questions that the user might naturally ask next in this conversation.\n{talk}",
        "[SUGGESTION MODE: Predict what the user will most likely type next. Reply with the suggestion only.]",
        "Based on the conversation above, propose three short prompts the user could send next. One per line.",
    ),
    "autocomplete": (
        "### Task:\nYou are an autocompletion system. Continue the text in <text> by what the <type> asks.\n<type>General</type>\n<text>review my pull req</text>",
        "Complete the user's unfinished message. Output only the missing part.\n\nwrite a sql query that joi",
    ),
    "search queries": (
        "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, and give them as JSON.\n{talk}",
        "Given the conversation, write one web search query that would help to answer the last message. Only the query.\n\n{talk}",
    ),
    "emoji": (
        "Your task is to reflect the speaker's likely facial expression through a fitting emoji.\nMessage: the tests pass at last!",
    ),
    "rewrite": (
        "Given the chat history and a follow-up question, rephrase the follow-up question as a standalone question.\n{talk}\nFollow-up: and in Java?",
    ),
    "compaction": (
        "Your task is to create a detailed summary of the conversation so far, paying attention to the user's explicit requests and your previous actions.",
        "You are performing a CONTEXT CHECKPOINT COMPACTION. Write a handoff summary for the model that will resume the task.",
        "*Briefly* summarize this partial conversation about programming. Include less detail about older parts.\n\n{talk}",
    ),
    "topic": (
        "Analyze if this message indicates a new conversation topic. Answer as JSON with isNewTopic and title.\n\nNow write the unit tests",
    ),
    "memory": (
        "Extract facts about the user that are worth remembering from the conversation below. Return a JSON list.\n\n{talk}",
    ),
    "tool results": (
        '<tool_result tool="bash">\nsrc/app.py:14: query = f"select * from users where id={id}"\n2 failed, 31 passed\n</tool_result>',
        '{"status": "error", "code": 500, "message": "database connection refused", "retry": false}',
        '[{"type": "tool_result", "tool_use_id": "toolu_01", "content": "3 files changed, 41 insertions(+)"}]',
        "<system-reminder>\nYour todo list is empty. Do not mention this to the user.\n</system-reminder>",
        "<local-command-stdout>Compacted the session; pull requests and tests are kept</local-command-stdout>",
        "Observation: Traceback (most recent call last):\n  File \"run.py\", line 3, in <module>\nKeyError: 'price'",
    ),
    "probes": ("count", "quota", "foo", "test", "ping", "Hi", "Warmup", ".", "ok"),
    "commands": (
        "Extract the file paths that this command reads or modifies. Answer in <filepaths> tags only.\nCommand: pytest tests/\nOutput: 31 passed",
    ),
}

HELD_OUT: Mapping[str, Sequence[str]] = {
    "title": (
        "Provide a concise, 5-word-or-less title for the conversation, using title case. Only return the title itself.\n\n{talk}",
        "You name conversations. Read the exchange below and answer with a headline of up to six words, no punctuation.\n\n{talk}",
        "{talk}\n\n---\nWrite a brief title for the dialogue above in the language of the user. Do not use quotation marks.",
        "Create a short session title (max 40 characters) from the user's first message:\n\nfix the flaky login test",
    ),
    "tags": (
        'Label the chat below with up to three lower-case topics. Respond with JSON: {{"topics": [...]}}\n\n{talk}',
        "What are the main themes of this discussion? Give two to four keywords, comma separated, and nothing else.\n\n{talk}",
    ),
    "follow-ups": (
        "Come up with four questions that the user may want to ask after this answer. Return them as a JSON array of strings.\n\n{talk}",
        "Suggest the next user message in this conversation. Keep it under 12 words and output only the message.\n\n{talk}",
    ),
    "autocomplete": (
        "Predict how the user's message continues. Respond with the continuation only, no explanation.\n\nexplain this stack tr",
        'You complete what a person types into a chat box. Text so far: "draft an email to my bo". Return just the rest.',
    ),
    "search queries": (
        "Decide whether the last user message needs a web search. If so return 1-3 search queries as a JSON list, else an empty list.\n\n{talk}",
        "Generate a search query for the latest question of the user, in view of the chat history. Return only the query string.\n\n{talk}",
    ),
    "emoji": (
        "Pick a single emoji that best matches the mood of this conversation. Reply with the emoji only.\n\n{talk}",
    ),
    "rewrite": (
        "Rewrite the user's last question so that it can be understood without the conversation. Do not answer it.\n\n{talk}\nuser: same for MySQL?",
    ),
    "compaction": (
        "The conversation is about to exceed the context window. Summarize everything so far so that work can continue from the summary alone.",
        "Condense the messages above into a brief that another agent can continue from. Keep file names, decisions and open tasks.",
        "Summarize our conversation up to this point in at most 200 words.\n\n{talk}",
    ),
    "topic": (
        "Does the latest message start a new topic or continue the conversation? Reply with only NEW or SAME.\n\nNow let us deploy it with Docker",
    ),
    "memory": (
        "From this dialogue, list durable preferences of the user to store as memories. Output JSON only; an empty list when there are none.\n\n{talk}",
    ),
    "tool results": (
        "<function_results>\n<result><tool_name>grep</tool_name><stdout>tests/test_sql.py:8: def test_join():</stdout></result>\n</function_results>",
        '{\n  "rows": [{"user": 1, "total": 9.5}, {"user": 2, "total": 3}],\n  "query": "select user, sum(total) from orders group by user"\n}',
        "Tool output:\nREADME.md  docs  invoice.pdf  report.xlsx  tests",
        "<bash-stdout>error: failed to push some refs; merge the pull request first</bash-stdout><bash-stderr></bash-stderr>",
        "[tool_result] 12 rows exported to customers.csv, 3 duplicates dropped",
        "<environment_context>\n  <cwd>/srv/shop</cwd>\n  <shell>bash</shell>\n</environment_context>",
    ),
    "probes": ("quota?", "hello", "bar", "testing", "x", "warm up", "1", "noop", "continue"),
    "commands": (
        "Determine the command prefix of the shell command below, or none. Return only the prefix, no explanation.\n\nCommand: git commit -m 'fix tests'",
    ),
}

CHIT_CHAT = (
    *(
        "hi",
        "hello there!",
        "good morning",
        "hey, how are you?",
        "thanks a lot, that was great!",
        "bye, see you tomorrow",
    ),
    *(
        "you are funny",
        "tell me a joke",
        "what's your name?",
        "who made you?",
        "are you a robot?",
        "I'm so tired today",
    ),
    *(
        "it's my birthday!",
        "what do you think about pizza?",
        "do you like music?",
        "lol",
        "haha nice one",
        "never mind",
    ),
    *("sorry, my mistake", "that is wrong", "yes please", "no, the other one", "go on", "what can you do?", "wow"),
    *("I had a terrible day", "my cat is asleep on the keyboard", "what's the weather like in Lisbon?", "good night"),
    *(
        "what is the capital of France?",
        "how do I boil an egg?",
        "who won the world cup in 1998?",
        "how tall is Mount Fuji",
    ),
    *(
        "sing me a song",
        "do you dream?",
        "what should I cook tonight?",
        "is it going to rain?",
        "I love you",
        "make me laugh",
    ),
    *("what time is it in Tokyo?", "recommend a good movie", "how old is the universe?", "flip a coin", "guess my age"),
)


def calls(wordings: Mapping[str, Sequence[str]], talks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (kind, request): every wording with every conversation."""
    for kind, texts in wordings.items():
        for text in texts:
            for talk in talks if "{talk}" in text else talks[:1]:
                yield kind, text.replace("{talk}", talk).replace("{{", "{").replace("}}", "}")
