"""Packages with code of their own: prebuilt for exactly this torch where it exists, else built."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from cudaenv.model.plan import Environment, Plan
from cudaenv.render.plan_text import plan_lines
from tests.support.asking import DRIVERS, ask, asked, lab, package, planned, rows, the

MMCV = "mmcv-full"
MINUTES = int(next(row for row in rows("packages/mmcv", "builds") if row["topic"] == "time")["minutes"])


def names(environment: Environment) -> set[str]:
    return {item.name for item in environment.packages}


# mmcv: which one.


@pytest.mark.parametrize(
    "packages", [[], ["mmcv"], ["mmcv>=2"], ["mmcv<2"], ["mmcv-full"], ["mmdet"], ["torch<2"]]
)
@pytest.mark.parametrize("driver", DRIVERS[3::3])
def test_the_lite_one_is_never_taken(packages: list[str], driver: str) -> None:
    for item in planned(asked(lab("7.5", driver), target=MMCV, packages=packages)):
        assert "mmcv-lite" not in names(item)
        (taken,) = names(item) & {"mmcv", "mmcv-full"}
        assert (package(item, taken).version.major == 1) == (taken == "mmcv-full")
        assert not [text for text in item.asked if text.startswith("mmcv-lite")]


@pytest.mark.parametrize("asking", ["mmcv<2", "mmcv==1.7.1", "mmcv-full"])
def test_below_2_mmcv_means_the_one_with_operators(asking: str) -> None:
    item = the(lab("RTX 2080 Ti", "535.104.05"), target=MMCV, packages=[asking])
    assert "mmcv" not in names(item)
    assert package(item, "mmcv-full").version.major == 1


@pytest.mark.parametrize(
    "release", [row["version"] for row in rows("packages/mmdet")[::4]] + ["3.0.0", "3.3.0"]
)
def test_mmdet_bounds_mmcv_and_mmengine(release: str) -> None:
    (row,) = [row for row in rows("packages/mmdet") if row["version"] == release]
    item = the(lab("A100", "535.104.05"), target=MMCV, packages=[f"mmdet=={release}"])
    for need in row["needs"].split():
        name = "mmcv-full" if need.startswith("mmcv-full") else need.split("<")[0].split(">")[0].split("=")[0]
        bound = SpecifierSet(need.removeprefix(name))
        assert bound.contains(package(item, name).version.public, prereleases=True), need


def test_the_two_packages_of_one_module_are_never_together() -> None:
    machine = lab("A100", "535.104.05")
    refusal = ask(machine, target=MMCV, packages=["mmdet==3.3.0", "mmcv<2"]).refusal
    assert refusal is not None
    assert set(refusal.conflict) == {"`mmdet==3.3.0`", "`mmcv<2`"}
    item = the(machine, target=MMCV, packages=["mmdet", "mmcv<2"])
    assert package(item, "mmdet").version.major == 2
    assert "mmcv" not in names(item)


@pytest.mark.parametrize(
    ("target", "packages", "conflict"),
    [
        ("run-only", ["mmcv", "mmcv-lite"], {"`mmcv`", "`mmcv-lite`"}),
        ("run-only", ["mmcv>=2", "mmcv-full"], {"`mmcv>=2`", "`mmcv-full`"}),
        (MMCV, ["mmcv>=2", "mmcv-full"], {"`mmcv>=2`", "`mmcv-full`"}),
        (MMCV, ["mmcv-lite"], {"`mmcv-lite`"}),
    ],
)
def test_packages_of_one_module_are_refused_by_the_row_that_says_so(
    target: str, packages: list[str], conflict: set[str]
) -> None:
    machine = lab("A100", "535.104.05")
    refusal = ask(machine, target=target, packages=packages).refusal
    assert refusal is not None
    assert set(refusal.conflict) == conflict
    (reason,) = refusal.because
    assert reason.rule == "modules"
    assert "modules mmcv" in reason.source
    assert all(text.strip("`").partition(">")[0] in reason.text for text in conflict)
    for text in packages:
        assert len(packages) == 1 or planned(asked(machine, target=target, packages=[text])), text


# mmcv: a wheel for exactly this, conda's build, or a build.


@pytest.mark.parametrize("gpu", ["6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0"])
def test_a_wheel_is_of_the_line_and_the_variant_of_its_torch(gpu: str) -> None:
    seen = 0
    for driver in DRIVERS[2::2]:
        for item in planned(asked(lab(gpu, driver), target=MMCV)):
            mmcv, torch = (package(item, name) for name in (*(names(item) & {"mmcv", "mmcv-full"}), "torch"))
            if mmcv.how != "wheel":
                continue
            seen += 1
            assert mmcv.index == "openmmlab", "PyPI has none"
            assert mmcv.variant == item.variant
            assert [
                row
                for row in rows(f"packages/{mmcv.name}")
                if row.get("index") == mmcv.index
                and row["version"] == mmcv.version.public
                and row["variant"] == mmcv.variant
                and item.platform in row["platforms"].split()
                and SpecifierSet(row["torch"]).contains(torch.version.public)
            ]
            line = ".".join(torch.version.public.split(".")[:2])
            assert f"/{mmcv.variant}/torch{line}." in mmcv.index_url
    assert seen > 2


@pytest.mark.parametrize("gpu", ["7.0", "8.9", "9.0", "10.0", "12.0"])
@pytest.mark.parametrize("pin", ["", "torch==2.4.1", "torch==2.9.1", "torch==2.13.0", "torch>=2.11"])
def test_nothing_is_built_that_somebody_has_built(gpu: str, pin: str) -> None:
    spec = asked(lab(gpu, "580.95.05"), target=MMCV, packages=[pin] if pin else [])
    for item in planned(spec):
        if not item.built:
            continue
        wheels = [
            row
            for row in rows("packages/mmcv")
            if row.get("index")
            and row.get("variant") == item.variant
            and SpecifierSet(row["torch"]).contains(item.torch.version.public)
        ]
        conda = [
            row
            for row in rows("conda-builds")
            if row["package"] == "mmcv"
            and row["platform"] == item.platform
            and "cpu" not in row["variant"]
            and SpecifierSet(row.get("torch", "")).contains(item.torch.version.public)
        ]
        assert not wheels, item.title
        assert not [row for row in conda if pin], item.title
        assert pin, "without a pin older builds serve"


def test_conda_serves_where_no_wheel_does() -> None:
    item = the(lab("RTX 5090", "580.95.05"), target=MMCV)
    assert (item.provider, package(item, "mmcv").how, item.built) == ("conda", "conda", ())


# The build.


def built() -> tuple[Plan, Environment]:
    plan = ask(lab("RTX 5090", "580.95.05"), target=MMCV, packages=["torch==2.13.0"])
    (item,) = plan.environments
    return plan, item


def test_a_pinned_torch_without_a_wheel_is_built_for() -> None:
    _, item = built()
    first, second = item.phases
    assert not first.builds
    assert first.install == ("torch",)
    assert second.builds
    assert second.install == (package(item, "mmcv").requirement,)
    assert package(item, "mmcv").how == "build"
    env = dict(second.env)
    assert env["MMCV_WITH_OPS"] == "1"
    assert env["FORCE_CUDA"] == "1"
    assert env["TORCH_CUDA_ARCH_LIST"] == "12.0"
    assert int(env["MAX_JOBS"]) > 0
    assert second.minutes == MINUTES
    assert {"setuptools<81", "ninja", "psutil"} <= set(second.requires)
    assert not [text for text in second.requires if text == "torch"], "it is there from the first phase"
    assert set(second.requires) <= set(item.asked), "what a build needs is installed before it"
    assert package(item, "mmcv").requirement not in item.asked, "no resolver takes its source by itself"
    assert item.toolkit is not None
    assert item.toolkit.cuda == item.cuda
    assert item.python.minor <= 12, "setup.py fails with newer ones"


def test_every_architecture_takes_its_time() -> None:
    machines = (lab("RTX 5090", "580.95.05"), lab("A100", "580.95.05"), lab("H100", "580.95.05"))
    fleet = [replace(item, name=f"m{number}") for number, item in enumerate(machines)]
    item = the(*fleet, target=MMCV, packages=["torch==2.13.0"])
    phase = item.phases[-1]
    assert dict(phase.env)["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0;12.0"
    assert phase.minutes == 3 * MINUTES


def test_a_parts_list_of_a_build_is_in_the_toolkit_of_wheels() -> None:
    _, item = built()
    assert item.toolkit is not None
    (nvcc,) = [row for row in rows("packages/mmcv", "builds") if row["topic"] == "nvcc"]
    extras = item.toolkit.requirements[0].partition("[")[2].partition("]")[0].split(",")
    assert set(nvcc["components"].split()) <= set(extras)


def test_the_trade_off_is_explained() -> None:
    text = " ".join(
        " ".join(plan_lines(ask(lab("RTX 4090", "595.71.05"), target=MMCV), explain=True)).split()
    )
    assert "pin torch to have it" in text
    told = " ".join(" ".join(plan_lines(built()[0], explain=True)).split())
    assert "no prebuilt wheel of mmcv goes with torch 2.13.0+cu130" in told
    assert "without build isolation" in told


# torch that nothing can be built for.


@pytest.mark.parametrize(
    ("target", "packages", "name"),
    [
        (MMCV, [], "mmcv"),
        ("run-only", ["flash-attn"], "flash-attn"),
        ("run-only", ["pytorch3d"], "pytorch3d"),
    ],
)
def test_headers_that_refuse_an_old_standard_are_the_reason_of_a_refusal(
    target: str, packages: list[str], name: str
) -> None:
    machine, pin = lab("A100", "595.71.05"), "torch==2.15.0"
    refusal = ask(machine, target=target, packages=[pin, *packages]).refusal
    assert refusal is not None
    reasons = {reason.rule: reason.text for reason in refusal.because}
    assert "c++17" in reasons["broken-build"].lower()
    assert name in reasons["broken-build"]
    assert f"`{pin}`" in refusal.conflict
    change = next(item for item in refusal.remedies if item.change.startswith("torch "))
    assert f"building {name}" in change.plan
    release = change.change.split()[1]
    item = the(machine, target=target, packages=[f"torch=={release}", *packages])
    assert package(item, name).how == "build"
    assert item.torch.version.public == release
    assert int(release.split(".")[1]) < 14


def test_a_release_that_the_rows_on_building_do_not_speak_of_is_not_built() -> None:
    """Older sources are there, too, but how they would be built is not known."""
    known = [row for row in rows("packages/mmcv-full", "builds") if row.get("requires")]
    older = [
        row for row in rows("packages/mmcv-full") if row.get("files") == "sdist" and row["version"] < "1.3.16"
    ]
    assert older
    for row in older:
        assert not [item for item in known if SpecifierSet(item["versions"]).contains(row["version"])]
        pins = [f"mmcv-full=={row['version']}", "torch==2.13.0"]
        assert not planned(asked(lab("8.0", "595.71.05"), target=MMCV, packages=pins))


# Wheels that compile when they are imported.


@pytest.mark.parametrize("driver", ["535.104.05", "595.71.05"])
def test_a_wheel_that_compiles_at_its_first_import_comes_with_a_toolkit_even_to_run(driver: str) -> None:
    plan = ask(lab("A100", driver), packages=["gsplat"])
    (item,) = plan.environments
    assert package(item, "gsplat").how == "wheel"
    assert not item.built
    assert [phase.builds for phase in item.phases] == [False]
    assert item.toolkit is not None
    assert item.toolkit.cuda == item.cuda
    assert dict(item.env)["TORCH_CUDA_ARCH_LIST"] == "8.0"
    (why,) = [answer for answer in plan.decisions if answer.question.startswith("Which gsplat")]
    assert any("first imported" in reason.text for reason in why.because)
    assert ask(lab("A100", driver), packages=["torchvision"]).environments[0].toolkit is None


def test_a_wheel_that_compiles_at_its_first_import_is_not_planned_where_no_toolkit_is_to_be_had() -> None:
    refusal = ask(lab("A100", "535.104.05"), packages=["gsplat"], provider="pip").refusal
    assert refusal is not None
    assert set(refusal.conflict) >= {"`gsplat`", "provider `pip`"}
    assert "toolkit" in {reason.rule for reason in refusal.because}


# Others of the kind.


def test_a_wheel_at_a_release_is_named_by_its_url() -> None:
    item = the(lab("A100", "535.104.05"), packages=["flash-attn", "torch==2.8.0"])
    flash = package(item, "flash-attn")
    tag = f"cp{item.python}".replace(".", "")
    assert flash.how == "wheel"
    assert flash.requirement == f"flash-attn @ {flash.index_url}"
    assert f"+cu12torch2.8cxx11abiTRUE-{tag}-{tag}-linux_x86_64.whl" in flash.index_url
    assert item.toolkit is None


def test_a_gpu_that_a_build_has_no_code_for_is_refused() -> None:
    refusal = ask(lab("V100", "535.104.05"), packages=["flash-attn"]).refusal
    assert refusal is not None
    assert any("V100" in reason.text and reason.rule == "machine-code" for reason in refusal.because)


@pytest.mark.parametrize("name", ["torch-scatter", "torch-cluster", "spconv-cu120", "bitsandbytes", "gsplat"])
def test_a_package_in_any_target_is_of_the_cuda_major_of_torch(name: str) -> None:
    item = the(lab("A100", "535.104.05"), packages=[name])
    assert item.cuda is not None
    assert package(item, name).cuda_major in {None, item.cuda.major}
    assert not item.built or item.toolkit is not None
