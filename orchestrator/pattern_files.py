"""Pattern files as request bodies: the text reaches the service as it was sent."""

from collections.abc import Mapping
from typing import Any

from rest_framework.parsers import BaseParser

from guardian.errors import Invalid
from orchestrator.pattern_schema import LIMIT_BYTES


class _TextParser(BaseParser):
    """A pattern file as it is: the text is stored as given and judged by the service."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        raw = stream.read(LIMIT_BYTES + 1)
        try:
            return {"text": raw.decode("utf-8")}
        except UnicodeDecodeError as error:
            raise Invalid("The body must be UTF-8 text.") from error


class JsonFileParser(_TextParser):
    media_type = "application/json"


class YamlFileParser(_TextParser):
    media_type = "application/yaml"


class OldYamlFileParser(_TextParser):
    media_type = "application/x-yaml"


class TextYamlFileParser(_TextParser):
    media_type = "text/yaml"


FILE_PARSERS = [JsonFileParser, YamlFileParser, OldYamlFileParser, TextYamlFileParser]
