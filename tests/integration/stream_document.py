"""docs/asyncapi.yaml as tests use it: which messages a channel knows, and whether an entry is one of them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

PATH = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
_URI = "urn:asyncapi"

Document = dict[str, Any]
Fields = Mapping[str, str]


def load() -> Document:
    """The document, its patterns ending as JSON Schema means them: Python's ``$`` also fits before a last newline."""
    document: Document = _with_strict_ends(yaml.safe_load(PATH.read_text()))
    return document


def message_names(document: Document, channel: str) -> list[str]:
    """The messages of a channel."""
    return list(document["channels"][channel]["messages"])


def objections(document: Document, message: str, fields: Fields) -> list[str]:
    """Why an entry is not this message; nothing when it is. JSON inside fields is looked into."""
    found = _errors(document, ["components", "messages", message, "payload"], fields)
    return found or [
        text for name in _json_fields(document, message) for text in _inside(document, message, name, fields)
    ]


def matching(document: Document, channel: str, fields: Fields) -> list[str]:
    """The messages of the channel that the entry is."""
    return [name for name in message_names(document, channel) if not objections(document, name, fields)]


def field_order(document: Document, message: str) -> list[str]:
    """The fields of a message as the document lists them."""
    return list(document["components"]["messages"][message]["payload"]["properties"])


def _json_fields(document: Document, message: str) -> Iterator[str]:
    for name, schema in document["components"]["messages"][message]["payload"]["properties"].items():
        if "x-content-schema" in schema:
            yield name


def _inside(document: Document, message: str, name: str, fields: Fields) -> list[str]:
    place = ["components", "messages", message, "payload", "properties", name, "x-content-schema"]
    return _errors(document, place, json.loads(fields[name]))


def _errors(document: Document, place: list[str], instance: object) -> list[str]:
    registry: Registry[Any] = Registry().with_resource(_URI, DRAFT7.create_resource(document))
    validator = Draft7Validator({"$ref": f"{_URI}#/{'/'.join(place)}"}, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def _with_strict_ends(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _strict_end(value) if key == "pattern" else _with_strict_ends(value) for key, value in node.items()
        }
    return [_with_strict_ends(one) for one in node] if isinstance(node, list) else node


def _strict_end(pattern: str) -> str:
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
