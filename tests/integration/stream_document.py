"""Access to docs/asyncapi.yaml: the messages of a channel, and the validation of stream entries."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.paths import ROOT

PATH = ROOT / "docs" / "asyncapi.yaml"
_URI = "urn:asyncapi"

Document = dict[str, Any]
Fields = Mapping[str, str]


def load() -> Document:
    """Load the document. Patterns get strict ends, because ``$`` in Python also matches before a final newline."""
    document: Document = _with_strict_ends(yaml.safe_load(PATH.read_text()))
    return document


def message_names(document: Document, channel: str) -> list[str]:
    """The messages of a channel."""
    return list(document["channels"][channel]["messages"])


def objections(document: Document, message: str, fields: Fields) -> list[str]:
    """Why an entry is not this message; empty if it is. JSON inside fields is validated too."""
    found = _errors(document, ["components", "messages", message, "payload"], fields)
    return found or [
        text for name in _json_fields(document, message) for text in _inside(document, message, name, fields)
    ]


def matching(document: Document, channel: str, fields: Fields) -> list[str]:
    """The messages of the channel for which the entry is valid."""
    return [name for name in message_names(document, channel) if not objections(document, name, fields)]


def field_order(document: Document, message: str) -> list[str]:
    """The fields of a message as the document lists them."""
    return list(document["components"]["messages"][message]["payload"]["properties"])


def _json_fields(document: Document, message: str) -> Iterator[str]:
    for name, schema in document["components"]["messages"][message]["payload"]["properties"].items():
        if "x-content-schema" in schema:
            yield name


def _inside(document: Document, message: str, name: str, fields: Fields) -> list[str]:
    path = ["components", "messages", message, "payload", "properties", name, "x-content-schema"]
    return _errors(document, path, json.loads(fields[name]))


def _errors(document: Document, path: list[str], instance: object) -> list[str]:
    registry: Registry[Any] = Registry().with_resource(_URI, DRAFT7.create_resource(document))
    validator = Draft7Validator({"$ref": f"{_URI}#/{'/'.join(path)}"}, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def _with_strict_ends(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _strict_end(value) if key == "pattern" else _with_strict_ends(value) for key, value in node.items()
        }
    return [_with_strict_ends(item) for item in node] if isinstance(node, list) else node


def _strict_end(pattern: str) -> str:
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
