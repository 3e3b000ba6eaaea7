"""A plan as text: what a person reads on a terminal, and the sentences that rendered files repeat."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from cudaenv.model.machine import Platform
from cudaenv.model.plan import (
    Alternative,
    Decision,
    Environment,
    How,
    Level,
    Phase,
    Plan,
    PlannedPackage,
    Reason,
    Refusal,
    Remark,
)

WIDTH = 100
LABEL = 15
MOST_NAMES = 5
MOST_TEXTS = 8


def plan_lines(plan: Plan, *, explain: bool) -> list[str]:
    """Return the plan for a terminal of 100 columns.

    With `explain` each reason has its source, and what ranks higher its obstacle.
    """
    if plan.refusal is not None:
        return _refusal_lines(plan.refusal, explain)
    blocks = [_environment_lines(plan, environment, explain) for environment in plan.environments]
    blocks += [_decision_lines(decision, explain) for decision in general_decisions(plan)]
    if plan.assumptions:
        assumed = plan.assumptions if explain else short_list(plan.assumptions)
        blocks.append(["Assumed, since nobody could tell", *_items(assumed)])
    if plan.warnings:
        blocks.append(["Beware", *_remarks(plan.warnings, explain)])
    return _joined(blocks)


def why_not_lines(asked: str, plan: Plan, other: Plan, reason: str) -> list[str]:
    """Return why a plan is not the one that has what is asked for."""
    if other.refusal is not None:
        return [f"Why not {asked}?", "", *_refusal_lines(other.refusal, explain=True)]
    lines = [*wrapped(f"Why not {asked}? It can be planned:")]
    lines += [line for item in other.environments for line in _items([plan_summary(item)])]
    if plan.refusal is None:
        lines += ["Planned instead:"]
        lines += [line for item in plan.environments for line in _items([plan_summary(item)])]
        lines += wrapped(f"What decides: {reason}")
    return lines


def plan_summary(environment: Environment) -> str:
    """Return an environment in one line."""
    cuda = f"CUDA {environment.cuda}" if environment.cuda else "no CUDA"
    packages = ", ".join(_labelled(package) for package in environment.packages)
    return clean(
        f"{environment.name}: {packages}, {cuda}, Python {environment.python}, {environment.platform}, "
        f"for {machines_text(environment)}"
    )


def clean(text: str) -> str:
    """Return a text as one line of printable characters.

    Names of GPUs and machines come from outside: a line break or an escape sequence in one must
    neither end a comment nor steer a terminal.
    """
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def wrapped(text: str, first: str = "", rest: str = "", width: int = WIDTH) -> list[str]:
    """Return a text as lines behind an indentation; a word that is longer than a line stays whole."""
    return textwrap.wrap(
        clean(text),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def place_text(package: PlannedPackage) -> str:
    """Return where a package comes from."""
    if package.channel:
        return f"the channel {package.channel}"
    return package.index_url or "the default index (PyPI)"


def machines_text(environment: Environment) -> str:
    """Return the names of the machines, the first few where there are many."""
    names = [clean(name) for name in environment.machines]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def driver_floor(environment: Environment) -> str:
    """Return the oldest driver that an environment runs on; empty for a CPU build."""
    need = environment.driver_required
    if need is None:
        return ""
    if environment.platform is Platform.WIN_64:
        return f"{need.windows} or newer"
    wsl = environment.platform is Platform.LINUX_64 and need.windows
    return f"{need.linux} or newer" + (f" (WSL: Windows driver {need.windows} or newer)" if wsl else "")


def driver_level(environment: Environment) -> str:
    """Return how drivers run the environment's CUDA; empty for a CPU build."""
    need = environment.driver_required
    if need is None:
        return ""
    if need.level is Level.DIRECT:
        return f"the machines' drivers run CUDA {environment.cuda} directly"
    return f"CUDA {environment.cuda} runs by minor-version compatibility on drivers older than its own"


def environment_decisions(plan: Plan, environment: Environment) -> tuple[Decision, ...]:
    """Return the decisions on an environment's own packages."""
    return tuple(decision for decision in plan.decisions if _is_about(decision, environment))


def general_decisions(plan: Plan) -> tuple[Decision, ...]:
    """Return the decisions that are on no single environment."""
    return tuple(
        decision
        for decision in plan.decisions
        if not any(_is_about(decision, environment) for environment in plan.environments)
    )


def _is_about(decision: Decision, environment: Environment) -> bool:
    if decision.answer == environment.title:
        # Environments of two platforms may have one build; the question names the platform.
        return decision.question.endswith(f"({environment.platform})?")
    return decision.question.endswith(f" for {environment.title}?")


def concerns(text: str, plan: Plan, environment: Environment) -> bool:
    """Whether an assumption or a warning is on this environment, not on other environments' machines only."""
    named = {name for other in plan.environments for name in other.machines if f"`{name}`" in text}
    return not named or bool(named & set(environment.machines))


def _environment_lines(plan: Plan, environment: Environment, explain: bool) -> list[str]:
    heading = f"{environment.name}: {environment.title} for {machines_text(environment)}"
    lines = [*wrapped(heading), ""]
    for label, text in _facts(environment, explain):
        lines += wrapped(text, f"  {label:<{LABEL - 2}}", " " * LABEL)
    for decision in environment_decisions(plan, environment):
        lines += ["", *_decision_lines(decision, explain)]
    return lines


def _facts(environment: Environment, explain: bool) -> Iterator[tuple[str, str]]:
    """What is in an environment and who supplies each layer of CUDA, a label and a text each."""
    names = environment.machines if explain else [machines_text(environment)]
    yield "machines", f"{', '.join(names)} ({environment.platform})"
    yield "python", str(environment.python)
    layers = dict(environment.layers)
    driver, runtime, toolkit = (layers.get(name) for name in ("driver", "runtime", "toolkit"))
    if driver is None:
        yield "driver", "not needed"
    else:
        yield "driver", f"from {driver.supplier}: {driver_floor(environment)}"
        yield "", driver_level(environment)
    yield "runtime", f"CUDA {runtime.version} from {runtime.supplier}" if runtime else "none: a CPU build"
    toolkit_text = f"CUDA {toolkit.version} from {toolkit.supplier}" if toolkit else "none: nothing is built"
    yield "toolkit", toolkit_text
    yield from _toolkit_facts(environment)
    for place, package in enumerate(environment.packages):
        how = "built from source" if package.how is How.BUILD else f"from {place_text(package)}"
        yield "" if place else "application", f"{_labelled(package)} {how}"
    if environment.rest:
        yield "further", f"{', '.join(environment.rest)} (versions are chosen when it is locked)"
    shown = [(name, layer.show) for name, layer in environment.layers if layer and explain]
    for place, (name, command) in enumerate(shown):
        yield "" if place else "to check", f"{name}: {command}"


def _toolkit_facts(environment: Environment) -> Iterator[tuple[str, str]]:
    """What compiles, for which GPUs, and what builds need."""
    toolkit = environment.toolkit
    if toolkit is None:
        return
    compiler = toolkit.host_compiler
    if compiler is not None:
        newest = f", {compiler.newest} at most" if compiler.newest else ""
        yield "", f"host compiler: {compiler.package} ({compiler.kind}{newest})"
    for step in toolkit.steps:
        yield "", step
    if environment.env:
        yield "variables", " ".join(f"{name}={value}" for name, value in environment.env)
    for phase in environment.phases:
        if phase.builds:
            yield "builds", phase_text(phase)


def phase_text(phase: Phase) -> str:
    """Return what a build installs and how, in a line."""
    env = " ".join(f"{name}={value}" for name, value in phase.env)
    before = f" after {', '.join(phase.requires)}" if phase.requires else ""
    minutes = f", measured to take {phase.minutes} minutes on 2 cores" if phase.minutes else ""
    return f"{', '.join(phase.install)} with pip install --no-build-isolation{before}, with {env}{minutes}"


def _labelled(package: PlannedPackage) -> str:
    """A package with its release and variant; what is bound to no CUDA has no variant."""
    extras = f"[{','.join(package.extras)}]" if package.extras else ""
    variant = f"+{package.variant}" if package.variant else ""
    return f"{package.name}{extras} {package.version.public}{variant}"


def _decision_lines(decision: Decision, explain: bool) -> list[str]:
    lines = wrapped(f"{decision.question} {decision.answer}")
    lines += _reasons(decision.because, explain)
    if decision.instead_of and explain:
        lines += ["  Better, and why not:", *_alternatives(decision.instead_of)]
    elif decision.instead_of:
        lines.append("  (--explain shows what ranks higher, and why not)")
    return lines


def _reasons(reasons: Sequence[Reason], explain: bool) -> list[str]:
    if explain:
        return [line for reason in reasons for line in _sourced(reason.text, reason.source)]
    return _items(short_reasons(reasons))


def short_reasons(reasons: Iterable[Reason]) -> list[str]:
    """Return the sentences of reasons, the first few where there are many."""
    return short_list(dict.fromkeys(reason.text for reason in reasons))


def short_remarks(remarks: Iterable[Remark]) -> list[str]:
    """Return the sentences of warnings, the first few of each kind where there are many."""
    kinds: dict[str, list[str]] = {}
    for remark in remarks:
        kinds.setdefault(remark.name, []).append(remark.text)
    return [text for texts in kinds.values() for text in short_list(texts)]


def short_list(texts: Iterable[str]) -> list[str]:
    """Return the first few of some texts, and how many there are besides."""
    listed = list(texts)
    more = [f"and {len(listed) - MOST_TEXTS} more"] if len(listed) > MOST_TEXTS else []
    return listed[:MOST_TEXTS] + more


def _alternatives(alternatives: Iterable[Alternative]) -> list[str]:
    lines: list[str] = []
    for other in alternatives:
        text = other.reason.text
        said = text if text.startswith(f"{other.what} ") else f"{other.what}: {text}"
        lines += _sourced(said, other.reason.source)
    return lines


def _remarks(remarks: Iterable[Remark], explain: bool) -> list[str]:
    if explain:
        return [line for remark in remarks for line in _sourced(remark.text, remark.source)]
    return _items(short_remarks(remarks))


def _items(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in wrapped(text, "  - ", "    ")]


def _sourced(text: str, source: str) -> list[str]:
    return [*_items([text]), *wrapped(f"source: {source}", "      ", "      ")]


def _refusal_lines(refusal: Refusal, explain: bool) -> list[str]:
    blocks = [wrapped(f"No plan: {refusal.text}")]
    if refusal.because:
        blocks.append(["Why", *_reasons(refusal.because, explain)])
    if refusal.conflict:
        single = len(refusal.conflict) == 1
        title = "What nothing satisfies" if single else "What excludes each other"
        blocks.append([title, *_items(refusal.conflict)])
    if refusal.remedies:
        lines = ["Would make a plan:"]
        for remedy in refusal.remedies:
            lines += [*_items([remedy.change]), *wrapped(f"plan: {remedy.plan}", "      ", "      ")]
        blocks.append(lines)
    return _joined(blocks)


def _joined(blocks: Iterable[Sequence[str]]) -> list[str]:
    """The blocks with an empty line between each two."""
    lines = [line for block in blocks for line in ("", *block)]
    return [line.rstrip() for line in lines[1:]]
