"""An instance with what erases and archives, and traces whose text can be looked for everywhere."""

from __future__ import annotations

import json
from pathlib import Path

from planted import fsck, traces_of
from trace_instance import Instance, trace

from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.redaction import Redactor
from llmos_lite.core.traces.trace import Message, Share, ToolCall, Trace
from llmos_lite.engines.objects import StoredObjects
from llmos_lite.volumes.access import VolumeRef

MARKER = "zanzibar quokka marmalade thermostat velvet orbit nine"
MINE = VolumeRef.user("alice")


def secret(number: int, actor: str = "alice", **given: object) -> Trace:
    said = {
        "goal": f"About {MARKER} please",
        "messages": (
            Message("user", f"About {MARKER} please"),
            Message("assistant", f"Well: {MARKER}.\nAnd that is that."),
        ),
        "tool_calls": (ToolCall("search", arguments=json.dumps({"q": MARKER}), result=MARKER),),
        "team": "sre",
        "share": Share.FULL,
    }
    return trace(number, actor, **said | given)


class Erasing(Instance):
    """An instance with what erases."""

    def __init__(self, data: Path, redactor: Redactor | None = None) -> None:
        super().__init__(data, redactor)
        self.archives = Archives(
            self.volumes, self.catalog, self.log, StoredObjects(str(data / "archive")), data / "tmp"
        )
        self.eraser = Eraser(data, self.volumes, self.catalog, self.log, self.archives)


async def record(instance: Instance, *traces: Trace, fold: bool = True) -> None:
    for one in traces:
        await instance.log.record(one)
    await instance.log.settle()
    if fold:
        await instance.log.fold()


def gone(instance: Instance, marker: str = MARKER) -> None:
    """Show that a text is nowhere, and that every repository is whole."""
    instance.volumes.close()
    assert traces_of(instance.data, marker) == []
    for gitdir in instance.data.glob("volumes/**/traces.git"):
        assert fsck(gitdir) == ""
