"""What Dockerfiles are made for beside the plan, and what stands beside them, as other programs read it."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml

from cudaenv.model.plan import Plan
from cudaenv.render.container_files import Surroundings
from cudaenv.render.container_tools import APPTAINER, COMPOSE
from cudaenv.render.files import render_files
from tests.support.planning import ROOT, cases, machine, plan_for
from tests.unit.test_render import commands
from tests.unit.test_render_builds import ASKED, hadolint, plan

TEMPLATES = {path.name: path.read_text("utf-8") for path in (ROOT / "templates").iterdir()}
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
MIRROR = ("pytorch", "https://download.pytorch.org/whl/", "https://mirror.example/whl/")


def rendered(of: Plan, *also: str, **around: Any) -> dict[str, str]:
    return render_files(
        of, templates=TEMPLATES, spec_name="cudaenv.toml", around=Surroundings(**around), also=also
    )


@cache
def conda_plan(*packages: str, target: str = "run-only") -> Plan:
    lab = machine("lab", ["RTX 4090"], "595.71.05", glibc="2.39", platform="linux-64")
    python = "3.12" if packages else ""
    return plan_for(lab, packages=packages, provider="conda", python=python, target=target)


def arguments(text: str) -> dict[str, str]:
    found = [value[0].partition("=") for name, _, value in commands(text) if name == "ARG"]
    return {name: value for name, sign, value in found if sign}


def test_images_are_named_by_their_digests_and_a_note_tells_the_tag() -> None:
    item = plan("build-by-system").environments[0]
    digests = {(item.build_image, item.platform): DIGEST, (item.base_image, item.platform): OTHER}
    text = rendered(plan("build-by-system"), digests=digests)["Dockerfile"]
    found = arguments(text)
    assert found["BUILD_IMAGE"] == f"nvidia/cuda@{DIGEST}"
    assert found["BASE_IMAGE"] == f"python@{OTHER}"
    assert f"# {item.build_image} as it was when it was locked\n" in text
    assert "Not pinned" not in text


@pytest.mark.parametrize("digest", ["sha256:0", f"{DIGEST}\nRUN evil", f"md5:{'a' * 64}"])
def test_what_is_no_digest_does_not_get_into_a_file(digest: str) -> None:
    item = cases()["v100"].environments[0]
    with pytest.raises(ValueError, match="not a digest"):
        rendered(cases()["v100"], digests={(item.base_image, item.platform): digest})


@pytest.mark.parametrize(
    "url", ["https://x.example/a#b/", "https://x.example/$(id)/", 'https://x.example/"/', "file:///x/"]
)
def test_what_is_no_plain_address_does_not_get_into_a_file(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        rendered(cases()["v100"], sources=((*MIRROR[:2], url),))


def test_a_mirror_of_the_spec_is_where_the_image_fetches_wheels() -> None:
    text = rendered(cases()["v100"], sources=(MIRROR,))["Dockerfile"]
    assert arguments(text) == {
        "BASE_IMAGE": "python:3.14-slim-trixie",
        "PYTORCH_MIRROR": "https://mirror.example/whl",
        "DEFAULT_MIRROR": "",
    }
    assert "PYTORCH_MIRROR" not in rendered(cases()["rtx-4090"], sources=(MIRROR,))["Dockerfile"], "not used"


def test_the_users_project_is_installed_last_and_moves_nothing() -> None:
    text = rendered(cases()["v100"], build_requires=("hatchling",))["Dockerfile"]
    found = commands(text)
    stages = [value for name, _, value in found if name == "FROM"]
    assert stages == [
        ("${BASE_IMAGE}", "AS", "build"),
        ("${BASE_IMAGE}", "AS", "project"),
        ("${BASE_IMAGE}",),
    ]
    runs = [value[0] for name, _, value in found if name == "RUN"]
    assert "--no-deps --no-index /wheels/*.whl" in runs[-1]
    assert "--no-build-isolation" not in text, "what builds it comes and goes on its own"
    places = [place for place, (name, _, _) in enumerate(found) if name in {"COPY", "RUN"}]
    assert found[places[-1]][2][0] == runs[-1], "the last layer"


def test_a_project_that_needs_torch_to_be_built_is_built_beside_it() -> None:
    text = rendered(cases()["v100"], build_requires=("setuptools>=77", "Torch>=2"))["Dockerfile"]
    assert "FROM build AS project\n" in text
    assert "--no-build-isolation --no-deps --wheel-dir /wheels /src" in text
    built = rendered(plan("build-by-system"), build_requires=("torch",))["Dockerfile"]
    assert built.index("COPY . /src") < built.index("AS environment"), "where the compiler is"
    assert "torchvision" not in built
    apart = rendered(cases()["v100"], build_requires=("torchvision-builder",))["Dockerfile"]
    assert "--no-build-isolation" not in apart


def test_whoever_develops_installs_the_project_in_the_editors_container() -> None:
    files = rendered(plan("wheels"), build_requires=("torch", "setuptools"))
    assert "/src" not in files["Dockerfile"]
    document = json.loads(re.sub(r"^//.*$", "", files[".devcontainer/devcontainer.json"], flags=re.MULTILINE))
    assert document["postCreateCommand"] == "pip install --no-deps --no-build-isolation --editable ."


def test_several_environments_have_a_devcontainer_each() -> None:
    two = plan("wheels").environments[0]
    both = replace(plan("wheels"), environments=(two, replace(two, name="other")))
    files = rendered(both)
    text = files[".devcontainer/other/devcontainer.json"]
    document = json.loads(re.sub(r"^//.*$", "", text, flags=re.MULTILINE))
    assert document["build"] == {"dockerfile": "../../Dockerfile.other", "context": "../.."}


def test_conda_packages_are_installed_from_the_explicit_lock_by_a_program_that_does_not_stay() -> None:
    text = rendered(conda_plan())["Dockerfile"]
    found = commands(text)
    assert arguments(text)["BASE_IMAGE"] == "debian:13-slim"
    assert arguments(text)["INSTALLER_IMAGE"].startswith("mambaorg/micromamba:")
    assert ("COPY", (), ("conda-linux-64.lock", "/opt/conda.lock")) in found
    (create,) = [value[0] for name, _, value in found if name == "RUN" and "micromamba" in value[0]]
    assert "/opt/conda.lock >/tmp/conda.lock" in create
    assert "--file /tmp/conda.lock" in create
    last = text[text.rindex("\nFROM ") :]
    assert "micromamba" not in last
    assert "COPY --from=build /opt/env /opt/env" in last


def test_what_is_built_beside_condas_packages_is_compiled_where_they_are_activated() -> None:
    of = conda_plan("torch", "flash-attn")
    text = rendered(of, APPTAINER)["Dockerfile"]
    build, last = text[: text.rindex("\nFROM ")], text[text.rindex("\nFROM ") :]
    run = "micromamba run --root-prefix /root/conda --prefix /opt/env python -m pip wheel --wheel-dir /wheels"
    assert f'FLASH_ATTN_CUDA_ARCHS="80" MAX_JOBS="${{MAX_JOBS:-4}}" {run}' in build
    assert 'ENV CUDA_HOME="$CONDA_PREFIX"' in build
    assert build.index("ENV CONDA_PREFIX=/opt/env") < build.index('ENV CUDA_HOME="$CONDA_PREFIX"')
    assert "ccache" not in text
    assert "/wheels" not in last
    (_, post), *_ = [
        item for item in reversed(sections(rendered(of, APPTAINER)[APPTAINER])) if item[0] == "%post"
    ]
    order = ("micromamba create", "export CUDA_HOME=", "micromamba run", "rm -rf /opt/conda")
    assert [post.index(part) for part in order] == sorted(post.index(part) for part in order)


def test_whoever_develops_with_condas_compilers_owns_the_environment_and_has_an_editors_container() -> None:
    files = rendered(conda_plan(target="develop-kernels"), APPTAINER, build_requires=("setuptools",))
    last = files["Dockerfile"][files["Dockerfile"].rindex("\nFROM ") :]
    assert "COPY --from=build --chown=1000:1000 /opt/env /opt/env" in last
    assert 'CMD ["bash"]' in last
    assert "/src" not in files["Dockerfile"], "it is worked on, and not installed"
    assert "/home/app/.cache" in last, "the volume of the editor's container is the user's"
    document = json.loads(re.sub(r"^//.*$", "", files[".devcontainer/devcontainer.json"], flags=re.MULTILINE))
    assert document["postCreateCommand"] == "pip install --no-deps --editable ."
    assert "export CUDA_HOME=" in dict(sections(files[APPTAINER]))["%environment"]
    to_run = rendered(conda_plan(), build_requires=())
    assert "--chown" not in to_run["Dockerfile"]
    assert ".devcontainer/devcontainer.json" not in to_run


def test_a_mirror_of_a_channel_is_where_the_image_fetches_packages() -> None:
    mirror = {"conda-forge": "https://mirror.example/conda-forge/"}
    text = rendered(conda_plan(), channels=mirror)["Dockerfile"]
    assert arguments(text)["CONDA_FORGE_CHANNEL"] == "https://mirror.example/conda-forge"
    assert 's#https://conda.anaconda.org/conda-forge/#${CONDA_FORGE_CHANNEL%/}/#"' in text
    canonical = "https://conda.anaconda.org/conda-forge"
    assert arguments(rendered(conda_plan())["Dockerfile"])["CONDA_FORGE_CHANNEL"] == canonical
    for url in (
        "file:///srv/conda-forge",
        "https://ann:secret@mirror.example/conda-forge",
        "https://x/$(id)",
    ):
        found = rendered(conda_plan(), channels={"conda-forge": url})["Dockerfile"]
        assert arguments(found)["CONDA_FORGE_CHANNEL"] == canonical, "not for an image"


def test_an_apptainer_definition_fetches_from_the_mirrors_of_the_spec() -> None:
    wheels = rendered(cases()["v100"], APPTAINER, sources=(MIRROR,))[APPTAINER]
    change = (
        'sed -i "s#https://download.pytorch.org/whl/#https://mirror.example/whl/#" /opt/requirements.lock'
    )
    assert wheels.index(change) < wheels.index("--require-hashes")
    mirror = {"conda-forge": "https://mirror.example/conda-forge"}
    conda = rendered(conda_plan(), APPTAINER, channels=mirror)[APPTAINER]
    changed = "s#https://conda.anaconda.org/conda-forge/#https://mirror.example/conda-forge/#"
    assert conda.index(f'sed -i "{changed}" /opt/conda.lock') < conda.index("micromamba create")
    assert "sed -i" not in rendered(conda_plan(), APPTAINER)[APPTAINER]


def test_hadolint_is_content_with_every_shape(tmp_path: Any) -> None:
    texts = [rendered(conda_plan(), build_requires=())["Dockerfile"]]
    texts += [rendered(conda_plan(target="develop-kernels"))["Dockerfile"]]
    texts += [rendered(conda_plan("torch", "flash-attn"), build_requires=("torch",))["Dockerfile"]]
    texts += [
        rendered(cases()[name], build_requires=("hatchling",))["Dockerfile"] for name in ("v100", "cpu")
    ]
    paths = [tmp_path / f"{number}.Dockerfile" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    assert [hadolint(path) for path in paths] == [[] for _ in paths]


def test_compose_reserves_gpus_where_there_are_any() -> None:
    document = yaml.safe_load(rendered(cases()["gtx-1080-ti-and-rtx-5090"], COMPOSE)[COMPOSE])
    services = document["services"]
    assert list(services) == ["cu126", "cu132"]
    assert services["cu126"]["build"] == {"context": ".", "dockerfile": "Dockerfile.cu126"}
    (device,) = services["cu126"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    cpu = yaml.safe_load(rendered(cases()["cpu"], COMPOSE)[COMPOSE])["services"]["cpu"]
    assert "deploy" not in cpu


def sections(text: str) -> list[tuple[str, str]]:
    """The headers and sections of an Apptainer definition, in their order."""
    plain = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    parts = re.split(r"^(Bootstrap: |%[a-z]+.*\n)", plain, flags=re.MULTILINE)
    return list(zip([part.strip() for part in parts[1::2]], parts[2::2], strict=True))


@pytest.mark.parametrize("name", ["v100", *ASKED])
def test_an_apptainer_definition_has_the_stages_of_the_dockerfile(name: str) -> None:
    of = cases()["v100"] if name == "v100" else plan(name)
    item = of.environments[0]
    text = rendered(of, APPTAINER, digests={(item.base_image, item.platform): DIGEST})[APPTAINER]
    found = sections(text)
    headers = [value for kind, value in found if kind == "Bootstrap:"]
    assert all(value.startswith("docker\nFrom: ") for value in headers)
    assert f"From: {item.base_image.partition(':')[0]}@{DIGEST}\nStage: final\n" in headers[-1]
    assert len(headers) == (2 if item.shape == "build" else 1)
    assert dict(found)["%environment"].count("PYTHONNOUSERSITE") == 1
    post = [value for kind, value in found if kind == "%post"]
    assert "--require-hashes --requirement /opt/requirements.lock" in post[-1]
    if item.shape == "build":
        assert "no-build-isolation" not in post[-1]
        assert "/wheels /wheels" in dict(found)["%files from build"]
    if item.shape == "develop":
        assert "export CUDA_HOME=" in dict(found)["%environment"]
    assert "$VIRTUAL_ENV" not in dict(found)["%environment"]


@pytest.mark.parametrize("of", [cases()["v100"], conda_plan()], ids=["wheels", "conda"])
def test_an_apptainer_image_keeps_of_the_projects_folder_what_is_installed(of: Plan) -> None:
    found = dict(sections(rendered(of, APPTAINER, build_requires=("hatchling",))[APPTAINER]))
    assert "    * /src/\n" in found["%files"], "nothing hidden: no .venv, no .env"
    assert "--no-deps /src\n    rm -rf /src\n" in found["%post"]


def test_an_apptainer_definition_of_conda_packages() -> None:
    found = sections(rendered(conda_plan(), APPTAINER)[APPTAINER])
    assert [kind for kind, _ in found].count("Bootstrap:") == 2
    assert "conda-linux-64.lock /opt/conda.lock" in dict(found)["%files"]
    assert 'CONDA_PREFIX="/opt/env"' in dict(found)["%environment"]


def test_what_may_hold_credentials_stays_out_of_images() -> None:
    text = rendered(cases()["v100"])[".dockerignore"]
    patterns = [line for line in text.splitlines() if line and not line.startswith("#")]

    def ignored(path: str) -> bool:
        return any(
            fnmatch.fnmatch(path, pattern)
            or (pattern.startswith("**/") and fnmatch.fnmatch(path, pattern[3:]))
            for pattern in patterns
        )

    assert all(ignored(path) for path in (".git", ".env", "deploy/.env", ".netrc", "a/b/.pypirc", ".venv"))
    kept = (
        "requirements.lock",
        "requirements.cu126.lock",
        "conda-linux-64.lock",
        "pyproject.toml",
        "README.md",
        "src",
    )
    assert not any(ignored(path) for path in kept)
