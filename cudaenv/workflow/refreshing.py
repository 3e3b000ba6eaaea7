"""Refreshing tables: measure, merge, check the whole, show, and write all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cudaenv.errors import FetchError, MatrixError, SpecError, UnreachableError
from cudaenv.matrix.compiled import digest_of
from cudaenv.matrix.document import Document
from cudaenv.matrix.load import full_name, raise_for, read_documents, type_tables
from cudaenv.matrix.matrix import read_checked
from cudaenv.matrix.refresh.artefacts import Artefacts, Scope, Survey
from cudaenv.matrix.refresh.conda import CHANNELS
from cudaenv.matrix.refresh.merge import Change, difference, merge, text_of
from cudaenv.matrix.refresh.surveys import BASES, PLACES, all_surveys
from cudaenv.model.documents import Problems, nearest
from cudaenv.model.spec_reader import parse_index_url
from cudaenv.system.addresses import printable
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.credentials import index_credentials, where_credentials_go
from cudaenv.system.files import cache_folder, write_together
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index
from cudaenv.workflow.tables import SHIPPED, SUFFIX, refreshed_folder, shipped_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to refresh: tables by name (`torch` stands for `packages/torch`) and places, all by default.

    `since`: only releases of that day or later, `2026-10-01`. `date`: the day that new rows are dated with.
    """

    tables: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    since: str = ""
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What refreshing would make of the tables: the new texts, and for each surveyed table what changes.

    `skipped` names what could not be asked, with the reason; its rows are as they were.
    """

    texts: Mapping[str, str]
    changes: Mapping[str, Change]
    differences: Mapping[str, Sequence[str]]
    skipped: Mapping[str, str]

    @property
    def summary(self) -> tuple[str, ...]:
        """What was found, a line a table, and what was skipped."""
        lines = []
        for name, change in self.changes.items():
            counts = ((change.added, "added"), (change.changed, "changed"), (change.removed, "removed"))
            said = ", ".join(f"{len(keys)} {what}" for keys, what in counts if keys)
            lines.append(f"{name}: {said or 'as it was'}")
        lines += [
            f"warning: {what} was not measured, its rows stay: {why}" for what, why in self.skipped.items()
        ]
        return tuple(lines)

    @property
    def removals(self) -> tuple[str, ...]:
        """The rows that are gone."""
        return tuple(
            f"{name} {' '.join(filter(None, key))}"
            for name, change in self.changes.items()
            for key in change.removed
        )


def refresh_tables(
    texts: Mapping[str, str],
    request: Request,
    environ: Mapping[str, str],
    mirrors: Mapping[str, str],
    talk: Callable[[str], None],
) -> Refreshed:
    """`refresh` with what the network has; `mirrors` are URLs by the names of indexes, or `default`."""
    rows = _read(texts)["indexes"].rows
    also = {row["index"]: row["also"].split() for row in rows if "also" in row}
    bases = {**BASES, **{row["index"]: row["url"] for row in rows}}
    _check_mirrors(mirrors, ("default", *bases))
    moved = {
        _prefix(address): _prefix(mirror)
        for name, mirror in mirrors.items()
        if name in bases
        for address in (bases[name], *also.get(name, ()))
    }
    with Client(credentials=index_credentials(environ, mirrors)) as client:
        artefacts = RemoteArtefacts(
            client,
            mirrors.get("default") or default_index(environ),
            cache_folder(environ),
            {name: f"{bases['conda']}/{name}" for name in CHANNELS},
            talk,
            served_by={_host(bases[name]): [_host(url) for url in urls] for name, urls in also.items()},
            moved=moved,
        )
        return refresh(texts, request, artefacts)


def _check_mirrors(mirrors: Mapping[str, str], known: Sequence[str]) -> None:
    """SpecError for indexes that there are not, and for what is no URL of an index."""
    for name, url in mirrors.items():
        if name not in known:
            raise SpecError(
                f"there is no index `{name}`{nearest(name, known)}", [f"indexes: {', '.join(known)}"]
            )
        try:
            if "@" in urlsplit(url).netloc:
                raise SpecError(
                    f"index `{name}` was given with a user name or password in its address",
                    hint=where_credentials_go(),
                )
            parse_index_url(url)
        except ValueError as error:
            raise SpecError(f"index `{name}`: {error}") from error


def _prefix(url: str) -> str:
    """What all addresses of an index begin with, to its last slash."""
    return url.split("{", maxsplit=1)[0].rstrip("/") + "/"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _read(texts: Mapping[str, str]) -> dict[str, Document]:
    """The documents of tables whose rows can be read, whether or not the tables hold together."""
    problems = Problems("matrix")
    documents = read_documents(texts, problems)
    type_tables(documents, problems)
    raise_for(problems)
    return documents


def refresh(texts: Mapping[str, str], request: Request, artefacts: Artefacts) -> Refreshed:
    """Measure the rows that were asked for, and put them into the tables of `texts`.

    A place that does not answer is skipped, and its rows stay. FetchError where none answers, or where one
    gives what cannot be right; MatrixError where the tables would not hold together afterwards; SpecError for
    tables and places that there are not.
    """
    documents = _read(texts)
    changed: dict[str, Document] = {}
    changes: dict[str, Change] = {}
    skipped: dict[str, str] = {}
    for survey in _chosen(documents, request):
        before = changed.get(survey.table, documents[survey.table])
        try:
            after, change = _surveyed(before, survey, request, artefacts)
        except UnreachableError as error:
            skipped[f"{survey.table} from {survey.place}"] = error.message
            continue
        changed[survey.table] = after
        changes[survey.table] = _joined(changes.get(survey.table, Change()), change)
    if not changes:
        raise FetchError(
            "nothing could be measured",
            [f"{what}: {why}" for what, why in skipped.items()],
            "check the network",
        )
    new = {name: text_of(document) for name, document in changed.items() if document is not documents[name]}
    read_checked({**texts, **new})
    return Refreshed(
        texts=new,
        changes=changes,
        differences={name: difference(texts[name], text, name) for name, text in new.items()},
        skipped=skipped,
    )


def _surveyed(
    document: Document, survey: Survey, request: Request, artefacts: Artefacts
) -> tuple[Document, Change]:
    artefacts.say(f"measuring {survey.table} from {survey.place}")
    what = f"{survey.table} could not be measured from {survey.place}"
    try:
        rows = list(survey.measure(artefacts, Scope(since=request.since)))
        if not rows and not request.since:
            raise FetchError(what, ["no release was found there"])
        return merge(document, rows, survey, request.date, whole=not request.since)
    except ValueError as error:
        raise FetchError(what, [printable(str(error))]) from error


def _joined(one: Change, other: Change) -> Change:
    return Change((*one.added, *other.added), (*one.changed, *other.changed), (*one.removed, *other.removed))


def _chosen(documents: Mapping[str, Document], request: Request) -> tuple[Survey, ...]:
    try:
        surveys = all_surveys(documents)
    except ValueError as error:
        raise MatrixError("the tables do not say how they are measured", [str(error)]) from error
    names = [full_name(name, documents) for name in request.tables]
    for place in request.places:
        if place not in PLACES:
            raise SpecError(
                f"there is no place `{place}` to measure{nearest(place, PLACES)}",
                [f"places: {', '.join(PLACES)}"],
            )
    found = tuple(
        survey
        for survey in surveys
        if (not names or survey.table in names) and (not request.places or survey.place in request.places)
    )
    for name in names or ([] if found else ["what you ask for"]):
        if not any(survey.table == name for survey in found):
            where = f" from {', '.join(request.places)}" if request.places else ""
            raise SpecError(
                f"nothing of {name} can be measured{where}",
                ["its rows come from documents: they are changed by hand"],
                "how to correct a row stands at the head of its file",
            )
    return found


def write_refreshed(
    refreshed: Refreshed, texts: Mapping[str, str], environ: Mapping[str, str], *, allow_removals: bool
) -> Path:
    """Write the new tables, all or none; return their folder, that of `CUDAENV_MATRIX` or the user's own.

    MatrixError where rows would be lost and that was not allowed, or where there is no folder to write to.
    """
    if refreshed.removals and not allow_removals:
        count = len(refreshed.removals)
        raise MatrixError(
            f"{count} {'row' if count == 1 else 'rows'} would be removed, so nothing was written",
            refreshed.removals,
            "if these releases are really gone, add `--allow-removals`",
        )
    chosen = environ.get("CUDAENV_MATRIX")
    folder = Path(chosen) if chosen else refreshed_folder(environ)
    if folder is None:
        raise MatrixError("there is no home folder to write to", hint="name a folder in CUDAENV_DATA_DIR")
    new: dict[str, str | None] = {f"{name}{SUFFIX}": text for name, text in refreshed.texts.items()}
    if not chosen:
        # Tables of an older release of cudaenv, which this one does not have, go.
        new = {path.relative_to(folder).as_posix(): None for path in folder.rglob(f"*{SUFFIX}")}
        new |= {f"{name}{SUFFIX}": text for name, text in {**texts, **refreshed.texts}.items()}
        new[SHIPPED] = f"{digest_of(shipped_texts())}\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MatrixError(f"`{folder}` cannot be made", [str(error)]) from error
    write_together(folder, new)
    return folder
