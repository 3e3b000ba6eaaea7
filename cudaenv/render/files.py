"""A plan as files: the requirements and the Dockerfile of each environment, and a snippet for uv."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from packaging.markers import Marker
from packaging.requirements import Requirement

from cudaenv import __version__
from cudaenv.model.machine import Platform
from cudaenv.model.plan import Environment, Plan, PlannedPackage
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
    torch_label,
    wrapped,
)

if TYPE_CHECKING:
    import jinja2

MADE_BY: Final = "Made by cudaenv "
"""How the first line of every rendered file begins, behind the comment sign."""

SNIPPET: Final = "pyproject.cudaenv.toml"
COMMENT_WIDTH: Final = 98

# What a Dockerfile holds unquoted is checked although it comes from our own types: they are made of
# a matrix and a spec that others write. The image's form is that of
# https://pkg.go.dev/github.com/distribution/reference without upper case and with sha256 only.
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FILE_NAME: Final = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
PYTHON: Final = re.compile(r"[0-9]\.[0-9]{1,2}")
IMAGE: Final = re.compile(
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::[0-9]{1,5})?"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)

DOCKER_PLATFORM: Final = {Platform.LINUX_64: "linux/amd64", Platform.LINUX_AARCH64: "linux/arm64"}


def render_files(
    plan: Plan, *, templates: Mapping[str, str], spec_name: str, default_index: str = ""
) -> dict[str, str]:
    """Write a plan's files, a text by each name; `templates` maps the names in `templates/` to their texts.

    `spec_name` is the file the plan comes from, `default_index` the URL of another default index than the
    installer's own. ValueError for a refusal, and for values that must not stand in a file.
    """
    if not plan.environments:
        raise ValueError("a plan without environments has no files")
    engine = _engine(templates)
    header = [
        f"{MADE_BY}{__version__} from {spec_name}.",
        f"Do not edit: change {spec_name} and run `cudaenv render`.",
    ]

    def text(template: str, view: _RequirementsView | _DockerfileView | _SnippetView) -> str:
        return engine.get_template(template).render(asdict(view), header=header)

    files: dict[str, str] = {}
    for environment in plan.environments:
        name = _file_name(plan, environment, "requirements.txt")
        files[name] = text("requirements.txt.j2", _requirements(plan, environment, default_index))
        if environment.platform.is_linux:
            name = _file_name(plan, environment, "Dockerfile")
            files[name] = text("Dockerfile.j2", _dockerfile(plan, environment, name))
    files[SNIPPET] = text("pyproject.cudaenv.toml.j2", _snippet(plan, default_index))
    return files


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
    engine.filters |= {"comment": comment, "toml": toml_string}
    return engine


def comment(text: str) -> str:
    """Return a text as one comment line, whatever line breaks it holds."""
    return f"# {''.join(char if char.isprintable() else ' ' for char in text)}".rstrip()


def toml_string(text: str) -> str:
    """Return a text as a TOML string; ValueError where it holds what is no printable character."""
    if not text.isprintable():
        raise ValueError(f"not a text for a file: {text!r}")
    is_literal = '"' in text and "'" not in text
    return f"'{text}'" if is_literal else json.dumps(text, ensure_ascii=False)


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"not {what}: {text!r}")
    return text


def _file_name(plan: Plan, environment: Environment, name: str) -> str:
    _checked(NAME, environment.name, "a name of an environment")
    return _checked(FILE_NAME, plan.file_name(environment, name), "a file name")


def _requirement(text: str, extra_marker: str = "") -> str:
    """A requirement as it may stand in a file, for the given marker besides its own."""
    requirement = Requirement(text)
    if extra_marker:
        own = f"({requirement.marker}) and " if requirement.marker else ""
        requirement.marker = Marker(f"{own}{extra_marker}")
    if requirement.url is not None or not str(requirement).isprintable():
        raise ValueError(f"not a requirement for a file: {text!r}")
    return str(requirement)


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
            (note, [_requirement(package.requirement) for package in packages])
            for note, packages in groupby(
                environment.packages, key=lambda package: _origin(package, default_index)
            )
        ],
        rest=[_requirement(text) for text in environment.rest],
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
    python = _checked(PYTHON, str(environment.python), "a Python version")
    return (
        f"torch {torch_label(environment)} on Python {python} for {machines_text(environment)} "
        f"({environment.platform})."
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
    names = ("requirements.txt", "requirements.lock", "pylock.toml")
    requirements, lock, pylock = (_file_name(plan, environment, name) for name in names)
    yield "Install with one of these; both files name each wheel by URL and hash:"
    yield f"  pip install --no-deps --require-hashes -r {lock}"
    yield f"  uv pip sync {pylock}"
    apart = [package for package in environment.packages if package.index_url]
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


# --- Dockerfile


@dataclass(frozen=True, slots=True, kw_only=True)
class _DockerfileView:
    """`driver_capabilities` is empty where no GPU is used."""

    notes: list[str]
    base_image: str
    lock: str
    driver_capabilities: str


def _dockerfile(plan: Plan, environment: Environment, name: str) -> _DockerfileView:
    return _DockerfileView(
        notes=list(_container_notes(environment, name)),
        base_image=_checked(IMAGE, environment.base_image, "an image reference"),
        lock=_file_name(plan, environment, "requirements.lock"),
        driver_capabilities="compute,utility" if environment.cuda else "",
    )


def _container_notes(environment: Environment, name: str) -> Iterator[str]:
    tag = f"cudaenv:{environment.name}"
    platform = f"--platform {DOCKER_PLATFORM[environment.platform]}"
    gpus = " --gpus all" if environment.cuda else ""
    yield from _lines(_title(environment))
    if environment.cuda:
        yield from _lines(
            "The wheels bring CUDA's libraries; the host brings its driver, "
            f"{driver_floor(environment)}, and the NVIDIA Container Toolkit."
        )
    yield ""
    yield f"  docker build {platform} -f {name} -t {tag} ."
    yield f'  docker run --rm -it{gpus} -v "$PWD:/work" {tag}'


# --- the snippet for uv


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a package comes from: one index, or indexes and the extras that use them."""

    package: str
    index: str = ""
    uses: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _SnippetView:
    """`dependencies` is empty where there are several environments, and `extras` where there is one."""

    requires_python: str
    commands: list[str]
    dependencies: list[str]
    extras: dict[str, list[str]]
    environments: list[str]
    sources: list[_Source]
    indexes: dict[str, str]
    default_index: str


def _snippet(plan: Plan, default_index: str) -> _SnippetView:
    extras = {
        _checked(NAME, environment.name, "a name of an environment"): _dependencies(plan, environment)
        for environment in plan.environments
    }
    is_single = len(extras) == 1
    platforms = dict.fromkeys(environment.platform for environment in plan.environments)
    indexes = {
        _index_name(package): package.index_url
        for environment in plan.environments
        for package in environment.packages
        if package.index_url
    }
    return _SnippetView(
        requires_python=_requires_python(plan),
        commands=["uv sync"] if is_single else [f"uv sync --extra {name}" for name in extras],
        dependencies=next(iter(extras.values())) if is_single else [],
        extras={} if is_single else extras,
        environments=[_platform_marker(platform) for platform in platforms],
        sources=list(_sources(plan)),
        indexes=dict(sorted(indexes.items())),
        default_index=default_index,
    )


def _dependencies(plan: Plan, environment: Environment) -> list[str]:
    marker = _marker(plan, environment)
    texts = [*(package.requirement for package in environment.packages), *environment.rest]
    return [_requirement(text, marker) for text in texts]


def _marker(plan: Plan, environment: Environment) -> str:
    """What sets the Python and the platform of an environment apart from others in one project."""
    parts = []
    if len({other.platform for other in plan.environments}) > 1:
        parts.append(_platform_marker(environment.platform))
    if len({other.python for other in plan.environments}) > 1:
        parts.append(f'python_version == "{environment.python}"')
    return " and ".join(parts)


def _platform_marker(platform: Platform) -> str:
    return f"sys_platform == '{platform.sys_platform}' and platform_machine == '{platform.machine}'"


def _requires_python(plan: Plan) -> str:
    pythons = sorted({environment.python for environment in plan.environments})
    if len(pythons) == 1:
        return f"=={pythons[0]}.*"
    return f">={pythons[0]},<{pythons[-1].major}.{pythons[-1].minor + 1}"


def _index_name(package: PlannedPackage) -> str:
    """The name of an index in uv's settings: each variant of PyTorch's has a URL of its own."""
    return _checked(NAME, f"{package.index}-{package.variant}", "a name of an index")


def _sources(plan: Plan) -> Iterator[_Source]:
    """The index of each package that is not on the default one; the name of an extra tells several apart."""
    found: dict[str, list[tuple[str, str]]] = {}
    for environment in plan.environments:
        for package in environment.packages:
            if package.index_url:
                name = _checked(NAME, package.name, "a package name")
                found.setdefault(name, []).append((_index_name(package), environment.name))
    for name, uses in found.items():
        if len(plan.environments) == 1:
            yield _Source(package=name, index=uses[0][0])
        else:
            yield _Source(package=name, uses=tuple(uses))
