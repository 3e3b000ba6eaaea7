"""Digests of container images, asked for while other things of a lock are waited for."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from cudaenv.errors import FetchError
from cudaenv.model.images import Digests, ImageReference
from cudaenv.model.machine import Platform
from cudaenv.model.plan import Environment, Plan
from cudaenv.system.http import Client
from cudaenv.system.registry import DOCKER_HUB, image_digest
from cudaenv.workflow.parallel import AT_ONCE
from cudaenv.workflow.project import Project

REGISTRY = "CUDAENV_REGISTRY"
"""The variable that names another registry to ask for images of Docker Hub; where it is empty, none is."""

TIMEOUT_S = 3.0
"""How long an answer may take: no lock waits long for what it can do without."""

Image = tuple[str, Platform]
"""An image by its tag, and the platform that it is used on."""


class Registries:
    """The digests of images: those that are known, and for all others what their registries say.

    Registries are asked once, from `ask` on, in threads. One that does not answer is no failure: it is
    said, and the image is not among `found`, or keeps the digest that it had.
    """

    def __init__(self, project: Project, known: Digests, *, renew: bool) -> None:
        self._project = project
        self._known = dict(known)
        self._renew = renew
        self._hub = project.environ.get(REGISTRY, DOCKER_HUB)
        self._client = Client(timeout=TIMEOUT_S, pauses=())
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._asked: dict[Image, Future[str]] = {}
        self._answered: set[Image] = set()

    def ask(self, plan: Plan) -> None:
        """Begin to ask for the images of a plan."""
        for image in _images(plan.environments):
            if image not in self._asked and (self._renew or image not in self._known) and self._hub:
                name, platform = image
                reference = ImageReference.parse(name)
                self._asked[image] = self._pool.submit(
                    image_digest, reference, platform, self._client, self._hub
                )

    def found(self, plan: Plan) -> Digests:
        """The digests of a plan's images, once those that were asked have answered."""
        for image in _images(plan.environments):
            future = self._asked.get(image)
            if future is not None and image not in self._answered:
                self._answered.add(image)
                self._learn(image, future)
        return self.known(plan)

    def known(self, plan: Plan) -> Digests:
        """The digests of a plan's images as far as they are known."""
        images = _images(plan.environments)
        return {image: self._known[image] for image in images if image in self._known}

    def _learn(self, image: Image, future: Future[str]) -> None:
        """Take an answer; warn where there is none."""
        try:
            self._known[image] = future.result()
        except FetchError as error:
            kept = "keeps the digest it had" if image in self._known else "is not pinned by a digest"
            reason = "; ".join([error.message, *error.details])
            self._project.talk(f"warning: {image[0]} {kept}: {reason}")


def _images(environments: Iterable[Environment]) -> list[Image]:
    """The images of Dockerfiles, each with the platform that it is used on."""
    found = [
        (image, environment.platform)
        for environment in environments
        if environment.shape is not None
        for image in (environment.build_image, environment.base_image)
        if image
    ]
    return list(dict.fromkeys(found))
