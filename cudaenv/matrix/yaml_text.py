"""YAML, read strictly: plain values only, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml

# What the safe loader lets pass of tagged scalars that are none: `!!bool maybe`, `!!int ""`, 2026-13-45.
_NO_SCALARS = (ValueError, LookupError, AttributeError)


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a key may stand once only."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"key `{twice}` twice", node.start_mark)
        return mapping


def parse_yaml(text: str) -> object:
    """The value of a YAML document. ValueError for what is none."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader with one more check
    except _NO_SCALARS as error:
        raise ValueError(f"a value is none of its type: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
