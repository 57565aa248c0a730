"""What PostgreSQL can keep of a value from outside."""

import math
from collections.abc import Mapping
from typing import Any


def storable(value: Any) -> Any:
    """The value without what PostgreSQL cannot hold in text: U+0000 and half surrogate pairs.

    Numbers that are none (JSON knows no NaN and no infinity) become None.
    """
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", "\ufffd")
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
