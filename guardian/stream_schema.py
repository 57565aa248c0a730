"""The stream of events in OpenAPI: it is served beside Django, where no view describes it."""

from typing import Any

from guardian import feed_topics

PATH = "/api/v1/events/stream"
_HEARD = """id: 4711
event: event
data: {"type": "event", "seq": 4711, "kind": "phases.ticket.created", "data": {}}

"""


def stream_operation() -> dict[str, Any]:
    """GET of the stream, without the failure that all operations share."""
    topics = ", ".join(f"`{form}`" for form in feed_topics.forms())
    return {
        "operationId": "events_stream_get",
        "summary": "Follow events live, as server-sent events",
        "description": (
            "An open answer: first `hello` {seq, heartbeat}, then `event` and, for boards and"
            " metrics, `patch`; a `ping` every 25 seconds; at the end `close` {code, reason}. Each"
            " carries its number as `id`. After a cut send the last one as Last-Event-ID: what was"
            " missed comes first, or `snapshot_required` where a fresh look is cheaper. The scope"
            " is that of each topic; `/ws/events` offers the same as a websocket."
        ),
        "tags": ["events"],
        "security": [{"token": []}, {"session": []}],
        "parameters": [
            {
                "in": "query",
                "name": "topics",
                "schema": {"type": "array", "items": {"type": "string"}, "default": ["events"]},
                "explode": False,
                "description": f"Separated by commas: {topics}.",
            },
            {
                "in": "header",
                "name": "Last-Event-ID",
                "schema": {"type": "integer", "minimum": 0},
                "description": "The number of the last event that was heard.",
            },
        ],
        "responses": {
            "200": {
                "description": "The stream.",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _HEARD}},
            },
        },
        "x-scope": "events:read",
    }
