"""What is said when a server starts: settings that cannot work."""

from __future__ import annotations

from urllib.parse import urlsplit

from llmos_lite.engines.llm_http import checked_url
from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings


def check_model(settings: Settings) -> None:
    """Refuse what can never reach a model.

    Raises:
        Invalid: `settings.invalid`, for a URL or a key that is none.
    """
    asked = settings.llm_provider in {"auto", "openai", "anthropic"}
    if asked and settings.llm_url and "@" in urlsplit(checked_url(settings.llm_url)).netloc:
        said = "LLMOS_LLM_URL holds a name or a password, which would be shown wherever the address is."
        raise Invalid("settings.invalid", said, hint="Put the key into LLMOS_LLM_KEY.")
    if not (settings.llm_key.isascii() and settings.llm_key.isprintable()):
        raise Invalid(
            "settings.invalid",
            "LLMOS_LLM_KEY cannot be sent: it is not one line of ASCII.",
            hint="Copy it anew, without quotes of a word processor or a line end.",
        )
