"""What all tests share: golden files, and hypothesis without luck or stopwatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.channel import Channels, cuda_channels
from tests.support.channel_server import ChannelServer
from tests.support.real_channels import real_channels

GOLDEN = Path(__file__).parent / "golden"

# The same examples in every run, and no failures because a machine was busy.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name in `tests/golden`, or write it with --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        assert path.is_file(), f"no golden file {name}: run pytest --update-golden and read what it wrote"
        assert text == path.read_bytes().decode()

    return check


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Channels:
    """Conda channels with CUDA packages, which no test changes."""
    return cuda_channels(tmp_path_factory.mktemp("channels"))


@pytest.fixture
def channel_server(channels: Channels) -> Iterator[ChannelServer]:
    """A server of the channels, which may be told to misbehave."""
    with ChannelServer(channels) as server:
        yield server


@pytest.fixture
def real_server() -> Iterator[ChannelServer]:
    """A server of real records, without packages; the test is skipped where they are not there."""
    folder = real_channels()
    if folder is None:
        pytest.skip("there are no real records beside this checkout")
    with ChannelServer(Channels(folder, {})) as server:
        yield server
