"""The two images, built once for all tests of this folder."""

import pytest

from tests.container.engine import Image, build


@pytest.fixture(scope="session")
def gate_image() -> Image:
    return build("gate")


@pytest.fixture(scope="session")
def flagserver_image() -> Image:
    return build("flagserver")
