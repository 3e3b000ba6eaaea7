"""GPU products, and how one is found by the names that drivers print and people type.

A name becomes a set of words; what says nothing about the compute capability is dropped:

    NVIDIA GeForce RTX 4070 Ti SUPER Laptop GPU    rtx 4070 ti super
    Tesla V100-SXM2-32GB                           v100
    gtx1080ti                                      gtx 1080 ti

A product is meant if it has every word of the name, and the name has every word of the product but
series and generations (RTX, Quadro, Ada, PRO …). So `4090` is one product and `RTX 5000` three;
`RTX 4099` is none, and neither is a `GTX 960M` a `GTX 960`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability

_PACKAGING: Final = re.compile(
    r"""
      \b mig \b (?: \s+ \S+ )?                      # a slice of a GPU: MIG 1g.5gb
    | (?<=\w) - \d{1,3} [abcq] \b                   # a vGPU profile: the -8Q of T4-8Q
    | \b \d{1,3} \s? g (?: i?b )? \b                # memory: 80GB, 24 GiB, 144G
    | \b (?: sxm | nvl | hbm | gddr ) \d* [a-z]? \b
    | \b max [-\s]? q \b
    | \b pci (?: -?e )? \b
    | \b quadro (?= [\s-]* (?: rtx [\s-]* )? a \d )  # RTX A6000 is one by habit only
    """,
    re.VERBOSE,
)
_WORD: Final = re.compile(
    r"""
      nvidia | geforce | quadro | tesla | jetson | titan | grid | gtx | rtx | dgx | hgx
    | (?: gt | mx ) (?= \d )                        # GT1030 is GT 1030, and MX450 is MX 450
    | ti (?= super | \b | \d )
    | [a-z]* \d+                                    # 4090, and codes such as a6000 or gb200
    | [^\W\d_]+
    """,
    re.VERBOSE,
)
_LAPTOP_WORDS: Final = frozenset({"laptop", "mobile", "notebook"})
# fmt: off
_IDLE_WORDS: Final = _LAPTOP_WORDS | {
    "nvidia", "corporation", "geforce", "tesla", "grid", "dgx", "hgx", "nvgpu",
    "gpu", "graphics", "card", "edition", "founders", "collectors", "generation", "gen",
    "embedded", "workstation", "server", "industrial", "module", "device", "with", "design",
    "engineering", "reference", "developer", "kit",
    "active", "ac", "lc", "dgxs", "fhhl", "sff", "oem", "lhr",
}
# fmt: on
"""Words that do not tell compute capabilities apart."""

_OMISSIBLE_WORDS: Final = frozenset(
    {"gt", "gtx", "rtx", "quadro", "jetson", "agx", "pro", "ada", "blackwell", "pascal", "rubin"}
)
"""Series and generations, which people leave out. Ti, SUPER, D, M and numbers are none of these."""

_PASCAL: Final = ComputeCapability(6, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow(Row):
    """A product and its compute capability (gpus.yaml)."""

    TABLE: ClassVar[str] = "gpus"
    KEY: ClassVar[tuple[str, ...]] = ("product",)

    product: str
    capability: ComputeCapability
    line: str
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class _Name:
    """What a name says: its significant words, and whether it speaks of a laptop."""

    words: frozenset[str]
    is_laptop: bool

    @classmethod
    def read(cls, text: str) -> _Name:
        words = frozenset(_split(text))
        return cls(words - _IDLE_WORDS, not words.isdisjoint(_LAPTOP_WORDS))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row with the words of its product."""

    row: GpuRow
    words: frozenset[str]
    needed: frozenset[str]

    @classmethod
    def of(cls, row: GpuRow) -> _Entry:
        words = _Name.read(row.product).words
        return cls(row, words, words - _OMISSIBLE_WORDS)

    def is_meant_by(self, name: _Name) -> bool:
        """Whether the name may mean this product."""
        if not (name.words and self.needed <= name.words <= self.words):
            return False
        missing = self.words - name.words
        if missing and len(name.words) == 1 and not any(word[-1].isdigit() for word in name.words):
            return False  # a lone `Nano` or `Titan` may be anything
        if "rtx" in missing and "quadro" in name.words:
            return False  # Quadro 4000, 5000 and 6000 are cards of 2010, not the Quadro RTX ones
        # Up to Maxwell, laptops have chips of their own: who writes `GTX 960 Laptop` has a GTX 960M.
        is_desktop = self.row.capability < _PASCAL and self.words.isdisjoint({"m", "mx"})
        return not (name.is_laptop and is_desktop)


class GpuTable:
    """GPU products, found by name; `rows` are as in the file."""

    def __init__(self, rows: Iterable[GpuRow]) -> None:
        self.rows = tuple(rows)

    def find(self, name: str) -> tuple[GpuRow, ...]:
        """Return the products that a name may mean, in the order of the table.

        One compute capability among them is the GPU's. Several: the name is ambiguous, as
        `RTX 5000` is. None: the table does not have it, see `nearest`.
        """
        read = _Name.read(name)
        return tuple(entry.row for entry in self._entries if entry.is_meant_by(read))

    def capabilities(self, name: str) -> tuple[ComputeCapability, ...]:
        """Return the compute capabilities of the products that a name may mean, each once, rising."""
        return tuple(sorted({row.capability for row in self.find(name)}))

    def nearest(self, name: str, count: int = 3) -> tuple[str, ...]:
        """Return the `count` products whose names look most like a name, the most alike first."""
        products: dict[str, str] = {}
        for row in self.rows:
            products.setdefault(_spelling(row.product), row.product)
        found = difflib.get_close_matches(_spelling(name), products, n=count, cutoff=0.0)
        return tuple(products[spelling] for spelling in found)

    @cached_property
    def _entries(self) -> tuple[_Entry, ...]:
        return tuple(_Entry.of(row) for row in self.rows)


def _split(name: str) -> list[str]:
    """All words of a name but its packaging; Slurm writes `nvidia_a100-sxm4-80gb`."""
    return _WORD.findall(_PACKAGING.sub(" ", name.casefold().replace("_", " ")))


def _spelling(name: str) -> str:
    return " ".join(word for word in _split(name) if word not in _IDLE_WORDS)
