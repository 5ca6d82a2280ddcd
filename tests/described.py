"""The description of the interface, made once in a process: that takes a second, and three files ask at import."""

from __future__ import annotations

import json
from typing import Any

from llmos_lite.api.openapi import render
from llmos_lite.api.routes import build

TEXT = render(build())
DOCUMENT: dict[str, Any] = json.loads(TEXT)
