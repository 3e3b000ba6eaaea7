"""The JSON form of a plan: a contract, described by plan.schema.json beside this file."""

from __future__ import annotations

from typing import Any

from cudaenv.model.plan import (
    SCHEMA,
    CondaPart,
    Decision,
    Environment,
    Layer,
    Phase,
    Plan,
    PlannedToolkit,
    Reason,
    Refusal,
    Remark,
)


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; keys keep this order, lists are sorted where order says nothing."""
    return {
        "schema": SCHEMA,
        "status": "no-plan" if plan.refusal else "planned",
        "environments": [environment_json(environment) for environment in plan.environments],
        "decisions": [_decision(decision) for decision in plan.decisions],
        "assumptions": list(plan.assumptions),
        "warnings": [_remark(warning) for warning in plan.warnings],
        "refusal": _refusal(plan.refusal) if plan.refusal else None,
    }


def environment_json(environment: Environment) -> dict[str, Any]:
    """One environment as plain data."""
    need = environment.driver_required
    return {
        "name": environment.name,
        "label": environment.label,
        "platform": str(environment.platform),
        "machines": list(environment.machines),
        "target": environment.target,
        "provider": environment.provider,
        "python": str(environment.python),
        "cuda": str(environment.cuda) if environment.cuda else None,
        "variant": environment.variant,
        "layers": {name: _layer(layer) for name, layer in environment.layers},
        "packages": {
            package.name: {
                "version": str(package.version),
                "how": str(package.how),
                "source": package.channel or package.index or "default",
                "index": package.index_url or None,
            }
            for package in environment.packages
        },
        "requirements": list(environment.rest),
        "toolkit": _toolkit(environment.toolkit) if environment.toolkit else None,
        "driver_required": need
        and {
            "linux": str(need.linux) if need.linux else None,
            "windows": str(need.windows) if need.windows else None,
            "level": str(need.level),
        },
        "arch_list": [str(sm) for sm in environment.sms],
        "ptx": [str(sm) for sm in environment.ptx],
        "glibc": str(environment.glibc) if environment.glibc else None,
        "base_image": {
            "build": environment.build_image
            or (None if environment.toolkit else environment.base_image)
            or None,
            "run": environment.base_image or None,
        },
        "phases": [_phase(phase) for phase in environment.phases],
        "env": dict(environment.env),
        "conda": _conda(environment.conda) if environment.conda else None,
    }


def _toolkit(toolkit: PlannedToolkit) -> dict[str, Any]:
    compiler = toolkit.host_compiler
    return {
        "version": str(toolkit.cuda),
        "provider": toolkit.provider,
        "components": list(toolkit.components),
        "requirements": list(toolkit.requirements),
        "host_compiler": compiler
        and {
            "kind": compiler.kind,
            "newest": compiler.newest or None,
            "planned": compiler.planned or None,
            "package": compiler.package or None,
        },
        "home": toolkit.home,
        "arch_list": [str(sm) for sm in toolkit.sms],
        "steps": list(toolkit.steps),
    }


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "install": list(phase.install),
        "builds": phase.builds,
        "components": list(phase.components),
        "requires": list(phase.requires),
        "env": dict(phase.env),
        "minutes": phase.minutes,
    }


def _conda(part: CondaPart) -> dict[str, Any]:
    return {
        "era": part.era,
        "channels": list(part.channels),
        "specs": list(part.specs),
        "virtual_packages": dict(part.virtual_packages),
    }


def _layer(layer: Layer | None) -> dict[str, str] | None:
    return {"supplier": layer.supplier, "version": layer.version, "show": layer.show} if layer else None


def _reason(reason: Reason) -> dict[str, str]:
    return {"rule": reason.rule, "text": reason.text, "source": reason.source}


def _remark(remark: Remark) -> dict[str, str]:
    return {"id": remark.name, "text": remark.text, "source": remark.source}


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "question": decision.question,
        "answer": decision.answer,
        "because": [_reason(reason) for reason in decision.because],
        "instead_of": [
            {"what": other.what, "because": _reason(other.reason)} for other in decision.instead_of
        ],
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "text": refusal.text,
        "conflict": list(refusal.conflict),
        "because": [_reason(reason) for reason in refusal.because],
        "remedies": [{"change": remedy.change, "plan": remedy.plan} for remedy in refusal.remedies],
    }
