"""A refusal that helps: a minimal conflict, why it is one, and remedies that were planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.model.machine import Fact, Machine, Platform
from cudaenv.model.plan import Reason, Refusal, Remedy
from cudaenv.model.spec import CudaRequest, PythonRequest, Spec
from cudaenv.model.versions import DriverVersion, GlibcVersion
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import Assessment, Choice, MachineKind, assessments, is_plannable, solve
from cudaenv.planner.statements import Statement, changed, statements

MOST_REASONS = 6
REPEATING_RULES = frozenset({"package-pin", "cuda", "provider", "no-silent-cpu", "no-gpu"})


def refuse(problem: Problem) -> Refusal:
    """Explain why a problem has no plan, by the first machine that has none."""
    stuck = _stuck(problem)
    platform, machine = stuck[0]
    spec = problem.spec
    alone = problem.with_spec(replace(spec, platforms=(platform,), machines=(machine,) if machine else ()))
    conflict = minimal_conflict(alone)
    texts = [statement.text for statement in conflict]
    more = list(dict.fromkeys(f"`{other.name}`" for _, other in stuck if other and other != machine))
    where = "" if platform is Platform.LINUX_64 else f" on {platform}"
    return Refusal(
        text=(f"no environment{where} satisfies {_sentence(texts)}" if texts else "nothing can be planned")
        + (f"; nor is there one for {_sentence(more)}" if more else ""),
        conflict=tuple(texts),
        because=tuple(_reasons(_only(alone, conflict))),
        remedies=tuple(_remedies(_only_first(problem, stuck), conflict)),
    )


Stuck = tuple[Platform, Machine | None]
"""A platform, and a machine on it that no candidate runs on; None for one of which nothing is known."""


def _stuck(problem: Problem) -> list[Stuck]:
    named = {machine.name: machine for machine in problem.spec.machines}
    return [
        (assessment.platform, named.get(name))
        for assessment in assessments(problem)
        for index, kind in enumerate(assessment.kinds)
        if not any(index in covered for _, covered in assessment.coverage)
        for name in dict.fromkeys(name for name, _ in kind.members)
    ]


def _only_first(problem: Problem, stuck: list[Stuck]) -> Problem:
    """The problem without the other machines and platforms that have no plan, to try remedies on."""
    platform, first = stuck[0]
    gone = {machine.name for _, machine in stuck if machine and machine != first}
    hopeless = {other for other, _ in stuck} - {platform}
    spec = problem.spec
    return problem.with_spec(
        replace(
            spec,
            platforms=tuple(item for item in spec.platforms if item not in hopeless),
            machines=tuple(machine for machine in spec.machines if machine.name not in gone),
        )
    )


def _sentence(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def minimal_conflict(problem: Problem) -> tuple[Statement, ...]:
    """Statements that exclude each other, of which none can be taken back without making a plan.

    One statement after the other is taken back; it stays out if the rest still has no plan. `cuda =
    "cpu"` comes last: it is the one statement that makes plans possible, where no GPU has to be served.
    """
    kept = list(_statements(problem))
    is_cpu = problem.spec.cuda.is_cpu
    for statement in sorted(kept, key=lambda item: is_cpu and item.subject == "cuda"):
        others = [other for other in kept if other is not statement]
        if not is_plannable(_only(problem, tuple(others))):
            kept = others
    return tuple(kept)


def _statements(problem: Problem) -> Iterator[Statement]:
    """The user's statements; those on packages by the names that he gives them, whatever is meant by one."""
    names = frozenset(request.name for request in problem.spec.packages if problem.is_known(request.name))
    return statements(problem.spec, names)


def _only(problem: Problem, keep: tuple[Statement, ...]) -> Problem:
    """The problem with all other statements taken back."""
    spec = problem.spec
    for statement in _statements(problem):
        if statement.text not in {kept.text for kept in keep}:
            spec = statement.without(spec)
    return problem.with_spec(spec)


def _reasons(problem: Problem) -> Iterator[Reason]:
    """What stands against the candidates that come nearest, one reason of each rule and machine.

    The newest release speaks, but of drivers the lowest floor. Reasons that only repeat a statement
    (a pin that excludes other releases) are left out where there are others.
    """
    found: dict[tuple[str, str], Reason] = {}
    for assessment in assessments(problem):
        for kind in assessment.kinds:
            nearest = _nearest(assessment, kind)
            lowest = min(
                (c.stack.cuda for c, reasons in nearest if c.stack.cuda and _is_driver(reasons)), default=None
            )
            for candidate, reasons in nearest:
                for reason in reasons:
                    if reason.rule != "driver" or candidate.stack.cuda == lowest:
                        found.setdefault((reason.rule, kind.machine.name), reason)
    telling = [reason for reason in found.values() if reason.rule not in REPEATING_RULES]
    yield from (telling or list(found.values()))[:MOST_REASONS]


def _nearest(assessment: Assessment, kind: MachineKind) -> list[tuple[Candidate, tuple[Reason, ...]]]:
    """The candidates with the fewest reasons against them on a machine, the best first."""
    rated = [
        (candidate, tuple(assessment.rejections(candidate, [kind]))) for candidate in assessment.candidates
    ]
    # What the user's own words exclude tells less than what stands against the rest.
    allowed = [item for item in rated if not {reason.rule for reason in item[1]} & REPEATING_RULES]
    rated = allowed or rated
    fewest = min((len(reasons) for _, reasons in rated), default=0)
    near = [(candidate, reasons) for candidate, reasons in rated if len(reasons) == fewest]
    return sorted(near, key=lambda item: assessment.rank(item[0], [kind])) if fewest else []


def _is_driver(reasons: tuple[Reason, ...]) -> bool:
    return any(reason.rule == "driver" for reason in reasons)


def _remedies(problem: Problem, conflict: tuple[Statement, ...]) -> Iterator[Remedy]:
    """For each statement of the conflict its smallest change that makes a plan, each one planned."""
    for statement in conflict:
        planned = (
            Remedy(change, _in_a_line(solution))
            for change, spec in _CHANGES[statement.subject](statement, problem)
            for solution in [solve(problem.with_spec(spec))]
            if solution is not None
        )
        smallest = next(planned, None)
        if smallest is None:
            continue
        yield smallest
        if statement.subject == "driver":
            yield from _newest_by_driver(statement, smallest, planned, problem)


def _newest_by_driver(
    statement: Statement, smallest: Remedy, planned: Iterator[Remedy], problem: Problem
) -> Iterator[Remedy]:
    """The lowest driver that gives what any driver would give: whoever updates may as well."""
    best = solve(problem.with_spec(statement.without(problem.spec)))
    if best is not None and _in_a_line(best) != smallest.plan:
        yield from islice((remedy for remedy in planned if remedy.plan == _in_a_line(best)), 1)


def _in_a_line(solution: tuple[Choice, ...]) -> str:
    labels = sorted({_label(choice.candidate) for choice in solution})
    pythons = sorted({choice.python for choice in solution})
    name = solution[0].candidate.stack.name
    return f"{name} {' and '.join(labels)}, Python {' and '.join(map(str, pythons))}"


def _label(candidate: Candidate) -> str:
    stack = candidate.stack
    where = f" of {stack.channel}" if stack.channel else ""
    building = ", ".join(pick.name for pick in candidate.built)
    return f"{stack.label}{where}" + (f" (building {building})" if building else "")


def _left_out(statement: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    yield f"leave {statement.text} out", statement.without(problem.spec)


def _package_changes(statement: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """The torch release nearest to the one asked for; or no pin for a companion."""
    if statement.package != "torch":
        yield from _left_out(statement, problem)
        return
    asked = [item for item in problem.spec.packages if item.name == "torch" and not item.by]
    specifier = SpecifierSet(",".join(str(request.specifier) for request in asked))
    releases = sorted({build.version for build in problem.matrix.tables.torch})
    wanted = [index for index, release in enumerate(releases) if release in specifier]
    centre = wanted[-1] if wanted else _place(releases, specifier)
    for index in sorted(range(len(releases)), key=lambda place: (abs(place - centre), -place)):
        release = releases[index]
        packages = tuple(
            replace(item, specifier=SpecifierSet(f"=={release}")) if item in asked else item
            for item in problem.spec.packages
        )
        yield f"torch {release} instead of {statement.text}", replace(problem.spec, packages=packages)


def _place(releases: list[Version], specifier: SpecifierSet) -> int:
    """Where the release that a specifier names would stand among those that exist."""
    named = sorted(Version(part.version.removesuffix(".*")) for part in specifier if part.operator != "===")
    return min(sum(release < named[0] for release in releases), len(releases) - 1) if named else 0


def _python_changes(_: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """Another Python, the newest first."""
    pythons = {python for build in problem.matrix.tables.torch for python in build.pythons}
    for python in sorted(pythons, reverse=True):
        yield f"Python {python}", replace(problem.spec, python=PythonRequest.parse(str(python)))


def _cuda_changes(_: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """Another CUDA release line, the newest first, before any."""
    lines = {build.cuda for build in problem.matrix.tables.torch if build.cuda is not None}
    for line in sorted(lines, reverse=True):
        yield f'cuda = "{line}"', replace(problem.spec, cuda=CudaRequest.parse(str(line)))
    yield 'cuda = "any"', replace(problem.spec, cuda=CudaRequest("any"))


def _driver_changes(statement: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """A newer driver: the lowest floor in the matrix that makes a plan."""
    machine = _machine(statement, problem)
    windows = problem.driver(machine).windows or problem.spec.platforms == (Platform.WIN_64,)
    floors = {
        floor
        for line in problem.matrix.tables.cuda
        for floor in (line.minor_driver(windows=windows), line.own_driver(windows=windows))
        if floor is not None
    }
    for floor in sorted(floors):
        yield (
            f"driver {floor} or newer on `{machine.name}`",
            changed(machine.name, _with_driver(floor))(problem.spec),
        )


def _with_driver(floor: DriverVersion) -> Callable[[Machine], Machine]:
    return lambda machine: replace(machine, driver=Fact(floor, "remedy"), driver_api=None)


def _glibc_changes(statement: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """A newer distribution: the lowest glibc floor in the matrix that makes a plan."""
    machine = _machine(statement, problem)
    for floor in sorted({build.glibc for build in problem.matrix.tables.torch if build.glibc}):
        change = changed(machine.name, _with_glibc(floor))
        yield f"glibc {floor} or newer on `{machine.name}`", change(problem.spec)


def _with_glibc(floor: GlibcVersion) -> Callable[[Machine], Machine]:
    return lambda machine: replace(machine, glibc=Fact(floor, "remedy"))


def _gpu_changes(statement: Statement, problem: Problem) -> Iterator[tuple[str, Spec]]:
    """Do without the GPU, where its machine has another, or without the machine, where there is another."""
    machine = _machine(statement, problem)
    spec = statement.without(problem.spec)
    if any(item.name == machine.name and item.gpus for item in spec.machines):
        yield f"leave {statement.text} out of this environment", spec
    elif len(problem.spec.machines) > 1:
        others = tuple(item for item in problem.spec.machines if item.name != machine.name)
        yield f"leave machine `{machine.name}` out", replace(problem.spec, machines=others)


def _machine(statement: Statement, problem: Problem) -> Machine:
    return next(machine for machine in problem.spec.machines if machine.name == statement.machine)


_CHANGES: Mapping[str, Callable[[Statement, Problem], Iterator[tuple[str, Spec]]]] = {
    "package": _package_changes,
    "python": _python_changes,
    "cuda": _cuda_changes,
    "driver": _driver_changes,
    "glibc": _glibc_changes,
    "gpu": _gpu_changes,
    "provider": _left_out,
    "bound": _left_out,
    "variant": _left_out,
}
"""For each subject of a statement its changes, the smallest first."""
