"""Alternatives: what ranks above a choice, and which rule with which source stands against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from cudaenv.model.plan import Alternative, Reason
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.search import Choice

QUIET_RULES = frozenset({"no-silent-cpu", "package-pin", "provider"})
"""Rules whose word on what ranks higher only repeats what the user said."""


def better(choice: Choice) -> Iterator[Alternative]:
    """What ranks above the choice and its first obstacle; neighbours with one obstacle as one line."""
    assessment = choice.assessment
    rank = assessment.rank(choice.candidate, choice.kinds)
    ahead = [
        (other_rank, candidate, reason)
        for candidate in assessment.candidates
        if candidate.tier <= choice.candidate.tier
        for other_rank in [assessment.rank(candidate, choice.kinds)]
        if other_rank < rank
        for reason in islice(assessment.rejections(candidate, choice.kinds), 1)
        if reason.rule not in QUIET_RULES
    ]
    ahead.sort(key=lambda item: item[0])
    yield from _by_building(choice)
    for _, group in groupby(ahead, key=lambda item: (item[2].rule, item[1].stack.variant)):
        items = list(group)
        yield Alternative(_span([candidate for _, candidate, _ in items]), items[0][2])


def _by_building(choice: Choice) -> Iterator[Alternative]:
    """The newest torch that there would be if something were built: the trade-off of a prebuilt wheel."""
    assessment, chosen = choice.assessment, choice.candidate
    if not chosen.picks:
        return
    places = frozenset(assessment.kinds.index(kind) for kind in choice.kinds)
    newer = [
        candidate
        for candidate, covered in assessment.possible
        if candidate.tier > chosen.tier
        and candidate.stack.version > chosen.stack.version
        and places <= covered
    ]
    best = min(newer, key=lambda item: (item.tier, assessment.rank(item, choice.kinds)), default=None)
    if best is not None:
        names = ", ".join(pick.name for pick in best.built)
        how = f"building {names} from source" if names else f"{best.provider} packages"
        measured = [int(row.minutes) for pick in best.built for row in pick.builds if row.minutes]
        minutes = max(measured, default=0)
        takes = f", which was measured to take {minutes} minutes for one architecture" if minutes else ""
        text = f"it takes {how}{takes}; pin torch to have it"
        yield Alternative(best.stack.title, Reason("source-build", text, "the order of preference"))


def _span(candidates: Sequence[Candidate]) -> str:
    first, last = candidates[0].stack, candidates[-1].stack
    if first.label == last.label:
        return first.title
    return f"{last.title} to {first.label}"
