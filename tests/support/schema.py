"""Plans held against the JSON Schema that cudaenv ships."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from cudaenv.model.plan import Plan
from cudaenv.model.plan_json import plan_json
from tests.support.planning import ROOT


def plan_schema() -> dict[str, Any]:
    """Return the schema of `plan --json`, read anew."""
    text = (ROOT / "cudaenv" / "model" / "plan.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def plan_validator() -> Draft202012Validator:
    """Return a validator of the JSON form of plans."""
    return Draft202012Validator(plan_schema())


def validated(plan: Plan) -> Plan:
    """Return a plan whose JSON form keeps the schema, and what a schema cannot say; fail otherwise."""
    document = json.loads(json.dumps(plan_json(plan)))
    problems = [f"{error.json_path}: {error.message}" for error in plan_validator().iter_errors(document)]
    assert not problems, problems
    names = [environment["name"] for environment in document["environments"]]
    assert len(names) == len(set(names)), names
    return plan
