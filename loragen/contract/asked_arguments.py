"""Rule: a specialization is asked for every parameter of a function in turn, and says null to what is not given.

A model that decides by itself whether another argument follows ends the object too early: it does not know which
parameters there are. So a device's grammar writes each name, and lets the model say null to a parameter that is
optional. Call experts are trained in this form, and a probe scores calls in it. Clients never see these nulls: the
device leaves them out.
"""

import json
from functools import lru_cache

MOST_ASKED = 16
"""Parameters; a function with more is written as its schema is, since each of them takes time."""


@lru_cache(maxsize=256)
def ask_for_all(schema: str) -> tuple[str, frozenset[str]]:
    """The schema with which all parameters are asked for, and the names of those whose null is left out.

    Args:
        schema: Of an object, as `loragen.contract.json_schema.canonical_parameters` writes it.
    """
    fields = json.loads(schema)
    properties = fields.get("properties", {})
    optional = frozenset(properties.keys() - fields.get("required", []))
    if not optional or len(properties) > MOST_ASKED:
        return schema, frozenset()
    asked = {
        name: {"anyOf": [each, {"type": "null"}]} if name in optional and each else each
        for name, each in properties.items()
    }
    return json.dumps({**fields, "properties": asked, "required": list(properties)}), optional
