"""Dockerfiles: what the template of each shape is filled with. The plan has chosen shape and images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from packaging.utils import canonicalize_name

from cudaenv.model.images import DIGEST, IMAGE, Digests, ImageReference, Shape
from cudaenv.model.machine import Platform
from cudaenv.model.names import CHANNELS, explicit_name
from cudaenv.model.plan import Environment, Phase, Plan, PlannedPackage
from cudaenv.render.build_files import checked_variables, phase_notes
from cudaenv.render.plan_text import driver_floor, machines_text, wrapped
from cudaenv.render.values import NAME, PYTHON, checked, environment_file, package_text

COMMENT_WIDTH: Final = 98
DOCKER_PLATFORM: Final = {Platform.LINUX_64: "linux/amd64", Platform.LINUX_AARCH64: "linux/arm64"}
HOST_COMPILER_FLAGS: Final = "NVCC_PREPEND_FLAGS"
"""Which compiler nvcc calls on a machine; an image is chosen for its own."""

USER: Final = 1000
USER_OF_UBUNTU: Final = 10001
"""The user's number: that of most people's own account; Ubuntu's images have such a user already."""

ENVIRONMENT_PIP: Final = "/opt/env/bin/python -m pip"
OUTSIDE_PIP: Final = "python -m pip --python /opt/env/bin/python"
"""The image's own pip, so that the environment needs none."""

MADE_WHEELS: Final = (
    f"{ENVIRONMENT_PIP} install --no-cache-dir --disable-pip-version-check --no-deps --no-index /wheels/*.whl"
)
COMPILERS: Final = r"nvidia-\(cuda-nvcc\|cuda-crt\|cuda-cccl\|nvvm\)"
"""The wheels of a toolkit that nothing needs to run (components.yaml), as sed's pattern."""

JOBS: Final = "MAX_JOBS"
APT: Final = re.compile(r"[a-z0-9][a-z0-9.+-]+")
TOOL: Final = re.compile(r"[a-z]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}")
SOURCE: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~%+@-]*)*")
"""What may stand in a build argument and in sed's program."""

TAG_MOVES: Final = "Not pinned: the tag {} moves. `cudaenv lock --upgrade image` pins it."
PINNED: Final = "{} as it was when it was locked"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What files are made for beside the plan.

    `digests` are those of images. `build_requires` is what the user's own project
    needs to be built (PEP 518); None where there is no project that can be installed. `sources` are
    indexes beside the default one: name, canonical prefix, and where it is fetched. `channels` are mirrors
    of conda channels by their names.
    """

    digests: Digests = field(default_factory=dict)
    build_requires: tuple[str, ...] | None = None
    sources: tuple[tuple[str, str, str], ...] = ()
    channels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """What one call of pip builds: a name in the lock of builds, or a requirement that no hash pins."""

    locked: str = ""
    requirement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A phase of building, and why it is so; `variables` as a shell takes them before a command."""

    notes: list[str]
    variables: str
    sources: list[SourceView]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """What every Dockerfile is filled with; each template takes what its shape has.

    `images` are build arguments with their reference and a note on it, `sources` and `channels` build
    arguments with the address of a mirror and the canonical one. `leave_out` is an option of sed.
    `python_tool` is uv with its hash, `uv_python` the Python that it brings to run with, `build_python` the
    one to build with; empty where the image has it.
    """

    notes: list[str]
    images: list[tuple[str, str, str]]
    fetches: bool
    sources: list[tuple[str, str, str]]
    channels: list[tuple[str, str, str]]
    lock: str
    conda_lock: str
    build_lock: str
    leave_out: str
    apt: list[str]
    conda_apt: list[str]
    ccache: bool
    libraries: list[str]
    uid: int
    home: str
    owner: str
    folders: list[str]
    pip: str
    venv_option: str
    python_tool: str
    uv_python: str
    build_python: str
    env: list[tuple[str, str]]
    links: bool
    phases: list[StepView]
    making: str
    installing: str
    project: bool
    project_stage: str
    project_pip: str
    isolation: str
    gpus: bool
    check: str
    command: str
    develops: bool


def container_view(plan: Plan, environment: Environment, around: Surroundings, name: str) -> ContainerView:
    """What the Dockerfile of that name is filled with; ValueError for values that may not be there."""
    shape = environment.shape
    is_conda, works_inside = _is_conda(environment), shape is Shape.DEVELOP
    develops = shape is not None and shape.is_to_work_in
    is_slim = not _brings_no_python(environment.base_image)
    uid = USER if is_slim else USER_OF_UBUNTU
    python = checked(PYTHON, str(environment.python), "a Python version")
    home = "/home/app" if works_inside else "/root"
    uses_own_pip = is_conda or works_inside or not is_slim
    compiles = shape in {Shape.DEVELOP, Shape.BUILD}
    return ContainerView(
        notes=list(_notes(environment, name)),
        images=list(image_arguments(environment, around)),
        fetches=bool(environment.asked) or not is_conda,
        sources=list(_sources(environment, around)),
        channels=list(_channels(environment, around)),
        lock=environment_file(plan, environment, "requirements.lock")
        if environment.asked or not is_conda
        else "",
        conda_lock=environment_file(plan, environment, explicit_name(environment.platform))
        if is_conda
        else "",
        build_lock=_build_lock(plan, environment),
        leave_out=rf'-e "/^{COMPILERS} @ /,+1d" ' if shape is Shape.BUILD and _by_wheels(environment) else "",
        apt=[
            "ccache",
            "g++",
            "git",
            *(["python3-venv"] if _brings_no_python(environment.build_image) else []),
        ],
        conda_apt=["git"] if any(package.git for package in environment.built) else [],
        ccache=not is_conda,
        libraries=[checked(APT, name, "a package of the system") for name in environment.libraries],
        uid=uid,
        home=home,
        owner=f",uid={uid},gid={uid}" if works_inside else "",
        folders=_folders(shape),
        pip=ENVIRONMENT_PIP if uses_own_pip else OUTSIDE_PIP,
        venv_option="" if uses_own_pip else "--without-pip ",
        python_tool=checked(TOOL, environment.python_tool, "a tool with its hash")
        if environment.python_tool
        else "",
        uv_python="" if is_slim or is_conda else python,
        build_python=python if _brings_no_python(environment.build_image) else "",
        env=_environment_variables(environment) if compiles or environment.toolkit else [],
        links=compiles and _by_wheels(environment),
        phases=[_step(phase, environment) for phase in environment.phases if phase.builds],
        making="install" if works_inside else "wheel --wheel-dir /wheels",
        installing="" if works_inside else f" \\\n    && {MADE_WHEELS}",
        project=around.build_requires is not None and not develops,
        project_stage="build" if isolation(around) else "${BASE_IMAGE}",
        project_pip=OUTSIDE_PIP if isolation(around) else "python -m pip",
        isolation=isolation(around),
        gpus=environment.cuda is not None,
        check=import_check(environment),
        command="bash" if develops else "python",
        develops=develops,
    )


def image_arguments(environment: Environment, around: Surroundings) -> Iterator[tuple[str, str, str]]:
    """The build arguments of images, each with its reference and a note that says the tag."""
    named = {"BASE_IMAGE": environment.base_image}
    if _is_conda(environment):
        named = {"INSTALLER_IMAGE": environment.build_image, **named}
    elif environment.shape is Shape.BUILD:
        named = {"BUILD_IMAGE": environment.build_image, **named}
    for argument, image in named.items():
        digest = around.digests.get((image, environment.platform), "")
        yield argument, _pinned(image, digest), (PINNED if digest else TAG_MOVES).format(image)


def _pinned(image: str, digest: str) -> str:
    """An image by its digest where that is known. ValueError for what is no image or digest."""
    checked(IMAGE, image, "an image reference")
    return ImageReference.parse(image).pinned(checked(DIGEST, digest, "a digest")) if digest else image


def isolation(around: Surroundings) -> str:
    """How the user's project is built: beside the environment where that needs torch, else on its own."""
    names = {
        canonicalize_name(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0])
        for text in around.build_requires or ()
    }
    return "--no-build-isolation " if "torch" in names else ""


def import_check(environment: Environment) -> str:
    """The program by which a container tells that it works; none where there is no torch."""
    return "import torch" if environment.has_torch else ""


def _brings_no_python(image: str) -> bool:
    """Whether an image is of a plain Ubuntu, NVIDIA's among them: its Python is not the planned one."""
    return "ubuntu" in image


def _folders(shape: Shape | None) -> list[str]:
    """The folders that belong to the user of a container."""
    own = ["/opt/env", "/opt/python"] if shape is Shape.DEVELOP else []
    return ["/work", *own, *(["/home/app/.cache"] if shape is not None and shape.is_to_work_in else [])]


def _is_conda(environment: Environment) -> bool:
    return environment.shape is not None and environment.shape.is_conda


def _by_wheels(environment: Environment) -> bool:
    return environment.toolkit is not None and environment.toolkit.provider == "pip"


def _sources(environment: Environment, around: Surroundings) -> Iterator[tuple[str, str, str]]:
    """The indexes that something is taken from, as build arguments."""
    used = [package.index_url for package in environment.wheels if package.index_url]
    for name, canonical, fetched in around.sources:
        if any(url.startswith(canonical) for url in used):
            argument = f"{checked(NAME, name, 'a name of an index').replace('-', '_').upper()}_MIRROR"
            mirror = checked(SOURCE, fetched.rstrip("/"), "an address")
            yield argument, mirror, checked(SOURCE, canonical, "an address")


def _channels(environment: Environment, around: Surroundings) -> Iterator[tuple[str, str, str]]:
    """The conda channels as build arguments; a label lies below its channel."""
    channels = environment.conda.channels if environment.conda else ()
    for name in dict.fromkeys(channel.partition("/")[0] for channel in channels):
        argument = f"{checked(NAME, name, 'a name of a channel').replace('-', '_').upper()}_CHANNEL"
        canonical = f"{CHANNELS}/{name}"
        mirror = around.channels.get(name, "").rstrip("/")
        # What is a folder of this machine, or bears credentials, is not for an image.
        yield argument, mirror if SOURCE.fullmatch(mirror) else canonical, f"{canonical}/"


def _build_lock(plan: Plan, environment: Environment) -> str:
    has_hashes = any(not package.git for package in environment.built)
    return environment_file(plan, environment, "requirements.build.lock") if has_hashes else ""


def _environment_variables(environment: Environment) -> list[tuple[str, str]]:
    return [item for item in checked_variables(environment.env) if item[0] != HOST_COMPILER_FLAGS]


def _step(phase: Phase, environment: Environment) -> StepView:
    built = {package.requirement: package for package in environment.built}
    return StepView(
        notes=list(phase_notes(phase)),
        variables="".join(
            f'{name}="{_or_said(name, value)}" ' for name, value in checked_variables(phase.env)
        ),
        sources=[_source(built[text]) for text in phase.install],
    )


def _or_said(name: str, value: str) -> str:
    """A variable's value; whoever builds may know better how many compilers there is memory for."""
    return f"${{{name}:-{value}}}" if name == JOBS else value


def _source(package: PlannedPackage) -> SourceView:
    if package.git:
        return SourceView(requirement=package_text(package))
    return SourceView(locked=checked(NAME, package.name, "a package name"))


def _notes(environment: Environment, name: str) -> Iterator[str]:
    tag = f"cudaenv:{environment.name}"
    platform = f"--platform {DOCKER_PLATFORM[environment.platform]}"
    gpus = " --gpus all" if environment.cuda else ""
    yield from title_lines(environment)
    if environment.cuda:
        bringer = "conda's packages" if _is_conda(environment) else "the wheels"
        yield from wrapped(
            f"{bringer[0].upper()}{bringer[1:]} bring CUDA's libraries; the host brings its driver, "
            f"{driver_floor(environment)}, and the NVIDIA Container Toolkit.",
            width=COMMENT_WIDTH,
        )
    yield ""
    yield f"  docker build {platform} -f {name} -t {tag} ."
    yield f'  docker run --rm -it{gpus} -v "$PWD:/work" {tag}'


def title_lines(environment: Environment) -> list[str]:
    """What an environment is and which machines it is for."""
    python = checked(PYTHON, str(environment.python), "a Python version")
    title = (
        f"{environment.title} on Python {python} for {machines_text(environment)} ({environment.platform})."
    )
    return wrapped(title, width=COMMENT_WIDTH)


TEMPLATES: Final[Mapping[Shape, str]] = {
    shape: f"Dockerfile.{'conda' if shape.is_conda else shape}.j2" for shape in Shape
}
"""The template of each shape."""
