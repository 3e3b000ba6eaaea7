"""Apptainer definitions: the stages of a Dockerfile in the form that clusters build images from.

https://apptainer.org/docs/user/main/definition_files.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cudaenv.model.images import Shape
from cudaenv.model.plan import Environment, Plan
from cudaenv.render.container_files import (
    ENVIRONMENT_PIP,
    ContainerView,
    Surroundings,
    container_view,
    title_lines,
)

FINAL = "final"
QUIET = "--no-cache-dir --disable-pip-version-check"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stage: `files` are copied, each list from here (empty) or from a stage, then `post` runs."""

    name: str
    note: str
    image: str
    files: list[tuple[str, list[str]]]
    post: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApptainerView:
    """What an Apptainer definition is filled with; `env` are the variables of what runs in it."""

    notes: list[str]
    stages: list[StageView]
    env: list[tuple[str, str]]
    check: str


def apptainer_view(plan: Plan, environment: Environment, around: Surroundings, name: str) -> ApptainerView:
    """Return what the definition of that name is filled with; the same installs as in the Dockerfile."""
    docker = container_view(plan, environment, around, name)
    gpus = " --nv" if docker.gpus else ""
    image = f"cudaenv-{environment.name}.sif"
    variables = [("PATH", "/opt/env/bin:$PATH"), ("PYTHONNOUSERSITE", "1")]
    if environment.shape is not None and environment.shape.is_conda:
        variables.append(("CONDA_PREFIX", "/opt/env"))
    if environment.shape is not Shape.BUILD:
        variables += [(key, _of_environment(value)) for key, value in docker.env]
        variables += [("LIBRARY_PATH", "$CUDA_HOME/lib64/stubs")] if docker.links else []
    return ApptainerView(
        notes=[
            *title_lines(environment),
            "",
            f"  apptainer build {image} {name}",
            f"  apptainer exec{gpus} {image} python",
        ],
        stages=list(_stages(environment, docker)),
        env=variables,
        check=docker.check,
    )


def _stages(environment: Environment, docker: ContainerView) -> Iterator[StageView]:
    """The stages, those of a shape as its Dockerfile has them; the last one has the image to run in."""
    images = {argument: (reference, note) for argument, reference, note in docker.images}

    def stage(name: str, argument: str, files: Files, post: list[str]) -> StageView:
        image, note = images[argument]
        return StageView(name=name, note=note, image=image, files=files, post=post)

    lock = [f"{docker.lock} /opt/requirements.lock"] if docker.lock else []
    sources = [f"{docker.build_lock} /opt/requirements.build.lock"] if docker.build_lock else []
    project = [VISIBLE] if docker.project else []
    installed = [
        *_apt(docker.libraries),
        *_python(docker.uv_python, docker.python_tool),
        *_wheels(docker, docker.leave_out),
    ]
    match environment.shape:
        case Shape.CONDA | Shape.CONDA_DEVELOP:
            yield stage("installer", "INSTALLER_IMAGE", [], ["true"])
            files = [
                (" from installer", ["/bin/micromamba /usr/local/bin/micromamba", CERTIFICATES]),
                ("", [f"{docker.conda_lock} /opt/conda.lock", *lock, *sources, *project]),
            ]
            apt = _apt([*docker.conda_apt, *docker.libraries])
            yield stage(FINAL, "BASE_IMAGE", files, [*apt, *_conda(docker)])
        case Shape.BUILD:
            post = [
                *_apt(docker.apt),
                *_python(docker.build_python, docker.python_tool),
                *_wheels(docker),
                *_builds(docker),
            ]
            yield stage("build", "BUILD_IMAGE", [("", [*lock, *sources, *project])], post)
            files = [("", lock), (" from build", ["/wheels /wheels"])]
            yield stage(FINAL, "BASE_IMAGE", files, [*installed, *_made(), "rm -rf /wheels"])
        case Shape.DEVELOP:
            post = [*_apt(docker.apt), *installed, *_builds(docker)]
            yield stage(FINAL, "BASE_IMAGE", [("", [*lock, *sources])], post)
        case _:
            yield stage(FINAL, "BASE_IMAGE", [("", [*lock, *project])], [*installed, *_own(docker)])


Files = list[tuple[str, list[str]]]
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt"

VISIBLE = "* /src/"
"""The project without .git, .venv, .env and the like. Apptainer reads no .dockerignore, follows every link
that it copies, and fails at one that leads nowhere."""


def _apt(packages: list[str]) -> list[str]:
    if not packages:
        return []
    return [
        "apt-get update",
        f"apt-get install --yes --no-install-recommends {' '.join(packages)}",
        "rm -rf /var/lib/apt/lists/*",
    ]


def _python(by_uv: str, tool: str) -> list[str]:
    """An environment with pip in it; by uv where the image has another Python."""
    if not by_uv:
        return ["python -m venv /opt/env"]
    return [
        "python3 -m venv /opt/uv",
        f'echo "{tool}" >/opt/uv/lock.txt',
        f"/opt/uv/bin/pip install {QUIET} --only-binary :all: --require-hashes -r /opt/uv/lock.txt",
        "export UV_PYTHON_INSTALL_DIR=/opt/python",
        f"/opt/uv/bin/uv python install --no-cache --no-bin {by_uv}",
        f'"$(/opt/uv/bin/uv python find --managed-python {by_uv})" -m venv /opt/env',
        "rm -rf /opt/uv",
    ]


def _from_mirrors(places: list[tuple[str, str, str]], lock: str) -> list[str]:
    """Have things fetched from the mirrors of the spec; the hashes decide. There are no build arguments."""
    return [
        f'sed -i "s#{canonical}#{url}/#" {lock}' for _, url, canonical in places if f"{url}/" != canonical
    ]


def _wheels(docker: ContainerView, leave_out: str = "") -> list[str]:
    mirrors = _from_mirrors(docker.sources, "/opt/requirements.lock")
    option = f"sed -i {leave_out}/opt/requirements.lock"
    install = (
        f"{ENVIRONMENT_PIP} install {QUIET} --no-deps --require-hashes --requirement /opt/requirements.lock"
    )
    return [*mirrors, *([option] if leave_out else []), install]


def _builds(docker: ContainerView) -> list[str]:
    """The variables of compiling, then the phases, as in the Dockerfile; the wheels end in /wheels."""
    lines = ["export VIRTUAL_ENV=/opt/env PATH=/opt/env/bin:$PATH"]
    lines += [f'export {name}="{value}"' for name, value in docker.env]
    lines.append('export PATH="$CUDA_HOME/bin:$PATH"')
    if docker.links:
        lines += [
            'ln -s lib "$CUDA_HOME/lib64"',
            'for library in "$CUDA_HOME"/lib/lib*.so.*; do',
            '    test -e "${library%%.so.*}.so" || ln -s "${library##*/}" "${library%%.so.*}.so"',
            "done",
            'mkdir "$CUDA_HOME/lib/stubs"',
            r'grep -ohE "\bcu[A-Z]\w*" "$CUDA_HOME/include/cuda.h" | sort -u >/tmp/names',
            'sed "s/.*/void &(void) {}/" /tmp/names >/tmp/stub.c',
            'gcc -shared -fPIC -Wl,-soname,libcuda.so.1 /tmp/stub.c -o "$CUDA_HOME/lib/stubs/libcuda.so"',
            "rm /tmp/names /tmp/stub.c",
            'export LIBRARY_PATH="$CUDA_HOME/lib64/stubs"',
        ]
    lines += _phases(docker, ENVIRONMENT_PIP)
    if docker.project:
        lines.append(f"{ENVIRONMENT_PIP} wheel {QUIET} {docker.isolation}--no-deps --wheel-dir /wheels /src")
    return lines


def _phases(docker: ContainerView, pip: str) -> list[str]:
    lines = ["mkdir -p /wheels"]
    for phase in docker.phases:
        for source in phase.sources:
            asked = f'"{source.requirement}"'
            if source.locked:
                lines.append(
                    f'sed -n "/^{source.locked} @ /,+1p" /opt/requirements.build.lock >/tmp/source.lock'
                )
                asked = "--require-hashes --requirement /tmp/source.lock"
            lines.append(
                f"{phase.variables}{pip} wheel {QUIET} --no-build-isolation --no-deps "
                f"--wheel-dir /wheels {asked}"
            )
            lines += _made()
    return lines


def _made() -> list[str]:
    return [f"{ENVIRONMENT_PIP} install {QUIET} --no-deps --no-index /wheels/*.whl"]


def _own(docker: ContainerView, pip: str = ENVIRONMENT_PIP) -> list[str]:
    """The user's project, of which the image keeps what is installed and not the folder."""
    if not docker.project:
        return []
    return [f"{pip} install {QUIET} {docker.isolation}--no-deps /src", "rm -rf /src"]


def _conda(docker: ContainerView) -> list[str]:
    """Conda's packages, wheels, and what is built by the compilers among the packages."""
    create = "micromamba create --yes --no-rc --root-prefix /opt/conda --prefix /opt/env --always-copy"
    pip = "micromamba run --root-prefix /opt/conda --prefix /opt/env python -m pip"
    lines = [*_from_mirrors(docker.channels, "/opt/conda.lock"), f"{create} --file /opt/conda.lock"]
    if docker.lock:
        lines += _wheels(docker)
    if docker.phases:
        lines += ["export CONDA_PREFIX=/opt/env", *(f'export {name}="{value}"' for name, value in docker.env)]
        lines += [*_phases(docker, pip), "rm -rf /wheels"]
    return [*lines, *_own(docker, pip), "rm -rf /opt/conda /usr/local/bin/micromamba"]


def _of_environment(value: str) -> str:
    """A value of a variable where nothing is activated."""
    return value.replace("$VIRTUAL_ENV", "/opt/env").replace("$CONDA_PREFIX", "/opt/env")
