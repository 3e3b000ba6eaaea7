"""Planning a project, and writing a run's files: what every command but a resolution needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cudaenv.errors import NoPlanError, SpecError
from cudaenv.lock.document import HINT, NAME, LockDocument, read_document
from cudaenv.lock.mirrors import Mirrors
from cudaenv.model.images import Digests
from cudaenv.model.plan import Plan
from cudaenv.model.spec import Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.model.stamp import JSON_COMMENT, is_untouched, stamped
from cudaenv.planner.plan import make_plan
from cudaenv.planner.why_not import Answer
from cudaenv.planner.why_not import why_not as planner_why_not
from cudaenv.system.files import write_together
from cudaenv.workflow.project import (
    PYPROJECT,
    RECORDED,
    SPEC_NAME,
    STATED,
    Project,
    with_machines,
)


class Refused(NoPlanError):
    """There is no plan; `plan` holds the refusal with its reasons and remedies."""

    def __init__(self, plan: Plan) -> None:
        refusal = plan.refusal
        assert refusal is not None  # noqa: S101  a programming error, not an input
        super().__init__(
            refusal.text,
            [reason.text for reason in refusal.because],
            "; or ".join(remedy.change for remedy in refusal.remedies),
        )
        self.plan = plan


def read_lock(project: Project) -> LockDocument | None:
    """The lock of a project, or None where there is none."""
    text = project.read(NAME)
    return None if text is None else read_document(text)


def plan_project(project: Project, document: LockDocument | None = None) -> tuple[Plan, Spec, str]:
    """Plan what the spec asks for.

    Machines that it never stated come from a lock where there is one, whoever runs this; else they
    are detected.
    """
    is_unstated = document is not None and document.machines_from != STATED
    recorded = document.planned_machines() if document and is_unstated else None
    spec, machines_from = with_machines(project, recorded)
    if document is not None and machines_from == RECORDED:
        machines_from = document.machines_from
    if document is not None:
        spec = heeding(spec, document)
    return make_plan(spec, project.matrix), spec, machines_from


def why_not(project: Project, asked: Mapping[str, Any]) -> tuple[Plan, Answer]:
    """The plan, and why it is not the one that has what is asked for, given as keys of a spec."""
    document = None if project.options else read_lock(project)
    plan, spec, _ = plan_project(project, document)
    packages = {**project.options.get("packages", {}), **asked.get("packages", {})}
    options = {**project.options, **asked, **({"packages": packages} if packages else {})}
    other = replace(project.changed(options=options, draft=project.draft).spec, machines=spec.machines)
    if document is not None:
        other = heeding(other, document)
    return plan, planner_why_not(spec, other, project.matrix)


def heeding(spec: Spec, document: LockDocument) -> Spec:
    """The spec with what a lock holds beside it: packages that were brought in, and bounds.

    SpecError where they are no requirements.
    """
    try:
        return with_bounds(with_brought_in(spec, document.brought_in), document.bounds)
    except ValueError as error:
        raise SpecError(f"`{NAME}` cannot be read", [str(error)], HINT) from error


def with_brought_in(spec: Spec, names: Sequence[str]) -> Spec:
    """Packages of torch's family that others depend on are planned like those the user asks for."""
    missing = [name for name in names if name not in {package.name for package in spec.packages}]
    return replace(
        spec,
        packages=(
            *spec.packages,
            *(parse_package(name, "a dependency of your packages") for name in missing),
        ),
    )


def with_bounds(spec: Spec, bounds: Sequence[str]) -> Spec:
    """What other packages require of planned ones, `NAME VERSION: REQUIREMENT` each, is asked for too."""
    found = []
    for text in bounds:
        by, _, requirement = text.partition(": ")
        found.append(replace(parse_package(requirement, f"{by} requires it"), by=by))
    return replace(spec, packages=(*spec.packages, *found))


def rendered(
    project: Project, plan: Plan, spec: Spec, digests: Digests, also: Collection[str] = ()
) -> dict[str, str]:
    """The readable files of a plan, by name; images by their digests where those are known.

    `also` are names of files that are made where they are asked for, or are there already. Settings of
    tools that a person has written (.dockerignore, devcontainer.json) stay theirs.
    """
    from cudaenv.render.container_files import Surroundings
    from cudaenv.render.container_tools import DEVCONTAINERS, DOCKERIGNORE
    from cudaenv.render.files import render_files

    mirrors = Mirrors.of(project.matrix.tables.indexes, spec.indexes)
    texts = render_files(
        plan,
        templates=project.templates,
        spec_name=project.spec_name or SPEC_NAME,
        default_index=spec.indexes.get("default", ""),
        around=Surroundings(
            digests=digests,
            build_requires=_build_requires(project),
            sources=tuple((place.name, place.canonical, place.fetched) for place in mirrors.places),
            channels=spec.channels,
        ),
        also={*also, *_made_before(project, plan)},
    )
    files = {
        name: stamped(text, JSON_COMMENT if name.endswith(".json") else "") for name, text in texts.items()
    }
    settings = [name for name in files if name == DOCKERIGNORE or DEVCONTAINERS.fullmatch(name)]
    theirs = {name for name in settings for text in [project.read(name)] if text and not is_untouched(text)}
    return {name: text for name, text in files.items() if name not in theirs}


def _made_before(project: Project, plan: Plan) -> Iterator[str]:
    """The files that are made where they are asked for, and were."""
    from cudaenv.render.container_tools import APPTAINER, COMPOSE

    for kind in (COMPOSE, APPTAINER):
        names = {kind, *(plan.file_name(environment, kind) for environment in plan.environments)}
        if any(text is not None and is_untouched(text) for text in map(project.read, sorted(names))):
            yield kind


def _build_requires(project: Project) -> tuple[str, ...] | None:
    """What the project in the folder needs to be built; None where it says no way to build it (PEP 518)."""
    system = project.toml(PYPROJECT).get("build-system")
    if not isinstance(system, Mapping):
        return None
    requires = system.get("requires", [])
    return tuple(map(str, requires)) if isinstance(requires, list) else ()


def is_own(name: str) -> bool:
    """Whether a name in a lock is of a file that cudaenv writes: one of the folder itself, or an editor's."""
    from cudaenv.render.container_tools import DEVCONTAINERS

    return not {"/", "\\"} & set(name) or DEVCONTAINERS.fullmatch(name) is not None


def write_files(project: Project, files: Mapping[str, str], *, force: bool) -> None:
    """Write a run's files together, and remove those of the last lock that it no longer has.

    A file that a person has edited or made is not overwritten: SpecError, unless `force`.
    """
    gone = _last_files(project) - set(files) if NAME in files else set()
    edited = [
        name
        for name in sorted({*files, *gone})
        for text in [project.read(name)]
        if text is not None and name != NAME and text != files.get(name) and not is_untouched(text)
    ]
    if edited and not force:
        raise SpecError(
            f"{', '.join(f'`{name}`' for name in edited)} would be overwritten",
            ["not made by cudaenv, or edited since"],
            hint="Move what you want to keep elsewhere, or give --force",
        )
    write_together(project.folder, {**dict.fromkeys(sorted(gone)), **files})


def _last_files(project: Project) -> set[str]:
    """The files of the lock that is there; none where it cannot be read, and is to be replaced.

    A lock is a file like any other: what it says of the user's own files, or of other folders, is nothing.
    """
    try:
        document = read_lock(project)
    except SpecError:
        return set()
    names = document.files if document else ()
    return {name for name in names if is_own(name)} - {SPEC_NAME, PYPROJECT}
