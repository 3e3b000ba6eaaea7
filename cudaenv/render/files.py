"""A plan as files: the requirements and the Dockerfile of each environment, and a snippet for uv."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cudaenv import __version__
from cudaenv.model.machine import Platform
from cudaenv.model.plan import Environment, Plan, PlannedPackage
from cudaenv.render.apptainer_files import ApptainerView, apptainer_view
from cudaenv.render.build_files import BuildsView, builds_view
from cudaenv.render.conda_files import EnvironmentView, VirtualView, environment_view, virtual_view
from cudaenv.render.container_files import TEMPLATES, ContainerView, Surroundings, container_view
from cudaenv.render.container_tools import (
    APPTAINER,
    COMPOSE,
    DOCKERIGNORE,
    ComposeView,
    DevcontainerView,
    IgnoreView,
    compose_view,
    devcontainer_name,
    devcontainer_view,
    ignore_view,
)
from cudaenv.render.plan_text import (
    concerns,
    driver_floor,
    driver_level,
    environment_decisions,
    general_decisions,
    machines_text,
    place_text,
    short_list,
    short_reasons,
    short_remarks,
    wrapped,
)
from cudaenv.render.uv_snippet import SnippetView, uv_snippet
from cudaenv.render.values import (
    PYTHON,
    checked,
    comment,
    environment_file,
    line_comment,
    package_text,
    requirement_text,
    toml_string,
    yaml_string,
)

if TYPE_CHECKING:
    import jinja2

MADE_BY: Final = "Made by cudaenv "
"""How the first line of every rendered file begins, behind the comment sign."""

SNIPPET: Final = "pyproject.cudaenv.toml"
COMMENT_WIDTH: Final = 98


def render_files(
    plan: Plan,
    *,
    templates: Mapping[str, str],
    spec_name: str,
    default_index: str = "",
    around: Surroundings | None = None,
    also: Collection[str] = (),
) -> dict[str, str]:
    """Write a plan's files, a text by each name; `templates` maps the names in `templates/` to their texts.

    `spec_name` is the file the plan comes from, `default_index` the URL of another default index than the
    installer's own, `also` the names of files that are made where they are asked for: `COMPOSE`, `APPTAINER`.
    ValueError for a refusal, and for values that must not stand in a file.
    """
    if not plan.environments:
        raise ValueError("a plan without environments has no files")
    engine = _engine(templates)
    header = [
        f"{MADE_BY}{__version__} from {spec_name}.",
        f"Do not edit: change {spec_name} and run `cudaenv render`.",
    ]

    def text(template: str, view: View) -> str:
        return engine.get_template(template).render(asdict(view), header=header)

    files: dict[str, str] = {}
    around = around or Surroundings()
    for environment in plan.environments:
        for name, template, view in _views(plan, environment, default_index):
            file = environment_file(plan, environment, name)
            files[file] = text(template, view)
        for name, template, view in _containers(plan, environment, around, also):
            files[name] = text(template, view)
    if any(environment.shape for environment in plan.environments):
        files[DOCKERIGNORE] = text("dockerignore.j2", ignore_view())
        if COMPOSE in also:
            files[COMPOSE] = text("compose.yaml.j2", compose_view(plan))
    if not any(environment.conda for environment in plan.environments):
        files[SNIPPET] = text("pyproject.cudaenv.toml.j2", uv_snippet(plan, default_index))
    return files


def _views(plan: Plan, environment: Environment, default_index: str) -> Iterator[tuple[str, str, View]]:
    """The files of one environment: name, template and what it is filled with."""
    notes = [*_notes(plan, environment)]
    if environment.conda is not None:
        yield "environment.yml", "environment.yml.j2", environment_view(plan, environment, notes)
        yield "virtual-packages.yml", "virtual-packages.yml.j2", virtual_view(environment)
    if environment.conda is None or environment.asked:
        requirements = _requirements(plan, environment, default_index)
        yield "requirements.txt", "requirements.txt.j2", requirements
    if environment.built:
        yield "requirements.build.txt", "requirements.build.txt.j2", builds_view(plan, environment)


def _containers(
    plan: Plan, environment: Environment, around: Surroundings, also: Collection[str]
) -> Iterator[tuple[str, str, View]]:
    """The files of an environment's container: name, template and what it is filled with."""
    if environment.shape is None:
        return
    name = environment_file(plan, environment, "Dockerfile")
    yield name, TEMPLATES[environment.shape], container_view(plan, environment, around, name)
    if environment.shape.is_to_work_in:
        view = devcontainer_view(plan, environment, around, name)
        yield devcontainer_name(plan, environment), "devcontainer.json.j2", view
    if APPTAINER in also:
        definition = environment_file(plan, environment, APPTAINER)
        yield definition, "Apptainer.def.j2", apptainer_view(plan, environment, around, definition)


def _engine(templates: Mapping[str, str]) -> jinja2.Environment:
    import jinja2

    engine = jinja2.Environment(
        loader=jinja2.DictLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # No HTML is made here: what each format needs is done by the filters and by the checks below.
        autoescape=False,  # noqa: S701
    )
    engine.filters |= {
        "comment": comment,
        "line_comment": line_comment,
        "toml": toml_string,
        "yaml": yaml_string,
    }
    return engine


# --- requirements.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class _RequirementsView:
    """`pins` are the planned packages, those of one origin below a note on it."""

    notes: list[str]
    installing: list[str]
    pins: list[tuple[str, list[str]]]
    rest: list[str]


def _requirements(plan: Plan, environment: Environment, default_index: str) -> _RequirementsView:
    return _RequirementsView(
        notes=list(_notes(plan, environment)),
        installing=list(_installing(plan, environment)),
        pins=[
            (note, [package_text(package) for package in packages])
            for note, packages in groupby(
                environment.wheels, key=lambda package: _origin(package, default_index)
            )
        ],
        rest=[
            requirement_text(text)
            for text in environment.asked
            if text not in {package.requirement for package in environment.wheels}
        ],
    )


def _origin(package: PlannedPackage, default_index: str) -> str:
    if package.index_url or not package.variant:
        return f"from {package.index_url or default_index or place_text(package)}"
    return f"from {default_index or place_text(package)}, which carries the {package.variant} build"


def _notes(plan: Plan, environment: Environment) -> Iterator[str]:
    """What the environment is for and why it is so."""
    yield from _lines(_title(environment))
    if environment.driver_required is not None:
        yield from _lines(f"Driver: {driver_floor(environment)}; {driver_level(environment)}.")
    for decision in (*environment_decisions(plan, environment), *general_decisions(plan)):
        yield from _listed(f"{decision.question} {decision.answer}", short_reasons(decision.because))
    assumed = [text for text in plan.assumptions if concerns(text, plan, environment)]
    yield from _listed("Assumed, since nobody could tell", short_list(assumed))
    warnings = [item for item in plan.warnings if concerns(item.text, plan, environment)]
    yield from _listed("Beware", short_remarks(warnings))


def _title(environment: Environment) -> str:
    python = checked(PYTHON, str(environment.python), "a Python version")
    return (
        f"{environment.title} on Python {python} for {machines_text(environment)} ({environment.platform})."
    )


def _listed(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield from _lines(title)
    for text in texts:
        yield from wrapped(text, "  - ", "    ", COMMENT_WIDTH)


def _lines(text: str) -> list[str]:
    return wrapped(text, width=COMMENT_WIDTH)


def _installing(plan: Plan, environment: Environment) -> Iterator[str]:
    """How to install, and where this file alone would not do."""
    if environment.conda is not None:
        name = environment_file(plan, environment, "requirements.txt")
        yield f"Into the conda environment: pip install -r {name}"
        yield "conda supplies torch and CUDA: `pip install --dry-run` shows whether a second copy would come."
        return
    names = ("requirements.txt", "requirements.lock", "pylock.toml")
    requirements, lock, pylock = (environment_file(plan, environment, name) for name in names)
    yield "Install with one of these; both files name each wheel by URL and hash:"
    yield f"  pip install --no-deps --require-hashes -r {lock}"
    yield f"  uv pip sync {pylock}"
    yield "For a machine without network, fetch on one that has it, with bash, and install on the other:"
    yield f"  pip download --no-deps -r {lock} -d wheelhouse --only-binary :all: \\"
    yield f"    --python-version {environment.python} {_pip_platforms(environment)}".rstrip()
    yield f"  pip install --no-index --find-links wheelhouse -r {requirements}"
    if environment.toolkit is not None:
        yield from _compiling(environment)
    if environment.built:
        builds = environment_file(plan, environment, "requirements.build.txt")
        yield f"Then, in this order and with what it says: {builds}"
    apart = [package for package in environment.wheels if package.index_url]
    if not apart:
        yield from _lines(
            f"All of it lies on the default index, so `pip install -r {requirements}` does it, too, "
            "without hashes."
        )
        return
    listed = ", ".join(package.name for package in apart)
    urls = " and ".join(dict.fromkeys(package.index_url for package in apart))
    yield from _lines(
        f"Not from this file: {listed} must come from {urls} and all else from the default index, "
        "and a requirements file cannot tie a package to an index."
    )


def _compiling(environment: Environment) -> Iterator[str]:
    """What compiling needs beside the packages: the compiler that nvcc takes, and variables."""
    toolkit = environment.toolkit
    compiler = toolkit.host_compiler if toolkit else None
    if compiler is not None:
        newest = f", {compiler.newest} at most" if compiler.newest else ""
        yield f"For compiling: {compiler.package} as host compiler ({compiler.kind}{newest}), and:"
    yield from (f"  {name}={value}" for name, value in environment.env)


def _pip_platforms(environment: Environment) -> str:
    """The options by which pip downloads for another platform than the one it runs on.

    pip takes a manylinux tag for itself and not for the older ones that it implies, so each is named
    (`_custom_manylinux_platforms` in pip/_internal/utils/compatibility_tags.py).
    """
    machine = environment.platform.machine
    if environment.platform.is_linux:
        glibc = environment.glibc_target or environment.glibc
        every = (
            f"--platform=manylinux_{glibc.major}_{{{OLDEST_GLIBC}..{glibc.minor}}}_{machine} "
            if glibc
            else ""
        )
        return f"{every}--platform={{manylinux2014,linux}}_{machine}"
    return f"--platform=win_{machine.lower()}" if environment.platform is Platform.WIN_64 else ""


OLDEST_GLIBC: Final = 5
"""The minor version of the oldest glibc that wheels are made for, that of manylinux1 (PEP 513)."""


View = (
    _RequirementsView
    | ContainerView
    | SnippetView
    | EnvironmentView
    | VirtualView
    | BuildsView
    | IgnoreView
    | DevcontainerView
    | ComposeView
    | ApptainerView
)
"""What a template is filled with."""
