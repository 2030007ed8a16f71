"""`evoseg pacs query|pull|segment|push`: series of a PACS by DICOMweb, and their segmentations back into it."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import job
from pipeline.cli.logs import messages
from pipeline.data import roots
from pipeline.errors import CaseError, InputError
from pipeline.inference.targets import Format
from pipeline.io.dicomweb import Series, Wanted, find_series
from pipeline.io.dicomweb_files import pull_series, push_file
from pipeline.io.folder_lock import held
from pipeline.io.web import Server, authorization
from pipeline.io.write import RTSTRUCT_SUFFIX, SEG_SUFFIX

if TYPE_CHECKING:
    from pipeline.inference.pacs import Station

logger = logging.getLogger(__name__)

INTERRUPTED = 130
WIDTH_IN_A_PIPE = 300  # so that a script's cut finds whole cells

pacs = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Segment series of a PACS, by DICOMweb, and send the results back. Credentials for it are taken from the "
    "environment: EVOSEG_PACS_USER and EVOSEG_PACS_PASSWORD, or EVOSEG_PACS_TOKEN.",
)

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Of DICOMweb; Orthanc's is https://HOST/dicom-web.")]
CaFlag = Annotated[
    Path | None, typer.Option(metavar="FILE.pem", show_default="the system's", help="Who vouches for the server.")
]
PlainFlag = Annotated[bool, typer.Option("--plain-http", help="Talk to another machine without encryption.")]
PatientFlag = Annotated[str | None, typer.Option(metavar="ID", help="Series of this patient.")]
AccessionFlag = Annotated[str | None, typer.Option(metavar="NUMBER", help="Series of this order.")]
DateFlag = Annotated[str | None, typer.Option(metavar="DATE", help="YYYYMMDD, or a range: A-B, A- or -B.")]
ModalityFlag = Annotated[str | None, typer.Option(metavar="CT|MR|...", help="Series of this modality.")]
StudyFlag = Annotated[str | None, typer.Option(metavar="UID", help="Series of this study.")]
SeriesFlag = Annotated[str | None, typer.Option(metavar="UID", help="This series.")]


@pacs.command()
def query(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of DICOMweb; Orthanc's is https://HOST/dicom-web.")],
    patient_id: PatientFlag = None,
    accession: AccessionFlag = None,
    study_date: DateFlag = None,
    modality: ModalityFlag = None,
    study: StudyFlag = None,
    series: SeriesFlag = None,
    ca_bundle: CaFlag = None,
    plain_http: PlainFlag = False,
) -> None:
    """List series, a line each: date of study, modality, images, number, description, UIDs of study and series."""
    from rich.console import Console
    from rich.table import Table

    wanted = _wanted(locals())
    found = find_series(_server(url, ca_bundle, plain_http), wanted)
    table = Table("date", "modality", "images", "number", "description", "study", "series", box=None, pad_edge=False)
    for each in found:
        images = "?" if each.images is None else str(each.images)
        table.add_row(each.study_date, each.modality, images, each.number, each.description, each.study, each.series)
    Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE).print(table)


@pacs.command()
def pull(
    url: UrlArgument,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Files go to OUT/<study>/<series>/.")],
    patient_id: PatientFlag = None,
    accession: AccessionFlag = None,
    study_date: DateFlag = None,
    modality: ModalityFlag = None,
    study: StudyFlag = None,
    series: SeriesFlag = None,
    ca_bundle: CaFlag = None,
    plain_http: PlainFlag = False,
    log_file: job.LogFileFlag = None,
    quiet: job.QuietFlag = False,
    verbose: job.VerboseFlag = False,
) -> None:
    """Copy series to a folder, whole; run again, it goes on where it was stopped."""
    wanted = _wanted(locals())
    with _told(quiet, verbose, log_file):
        server = _server(url, ca_bundle, plain_http)
        found = _some(find_series(server, wanted))
        failed = 0
        for number, each in enumerate(found, start=1):
            try:
                pull_series(server, each, out / each.study / each.series)
                logger.info("%d/%d series %s: here", number, len(found), each.series)
            except CaseError as error:
                failed += 1
                logger.error("%d/%d %s: %s", number, len(found), error.code, error.message)
        logger.info("%d of %d series are in %s", len(found) - failed, len(found), out)
    raise typer.Exit(int(failed > 0))


@pacs.command()
def segment(
    url: UrlArgument,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder of results and of the journal.")],
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="See `evoseg bundles`.")],
    format_: Annotated[
        list[Format] | None,
        typer.Option("--format", show_default="dicom-seg", help="Repeat for several; DICOM results are sent."),
    ] = None,
    patient_id: PatientFlag = None,
    accession: AccessionFlag = None,
    study_date: DateFlag = None,
    modality: ModalityFlag = None,
    study: StudyFlag = None,
    series: SeriesFlag = None,
    watch: Annotated[
        int | None,
        typer.Option(metavar="S", min=1, help="Look for new series every S seconds, until Ctrl-C or SIGTERM."),
    ] = None,
    no_push: Annotated[bool, typer.Option("--no-push", help="Keep the results here only.")] = False,
    keep_scans: Annotated[bool, typer.Option("--keep-scans", help="Do not delete the scans in OUT/scans.")] = False,
    device: job.DeviceFlag = "auto",
    allow_tilt: job.AllowTiltFlag = False,
    ca_bundle: CaFlag = None,
    plain_http: PlainFlag = False,
    log_file: job.LogFileFlag = None,
    quiet: job.QuietFlag = False,
    verbose: job.VerboseFlag = False,
) -> None:
    """Pull series, segment them, and send the results back as DICOM; each series once, by the journal OUT/pacs.jsonl.

    Run again, or with --watch, it does what is not done yet. A watch leaves alone what was refused, and what failed on
    its way three times; a server that is away is waited for. Exit status as of `evoseg segment`; 0 of a watch.
    """
    flags = locals()
    wanted = _wanted(flags)
    with _told(quiet, verbose, log_file):
        server = _server(url, ca_bundle, plain_http)
        find = partial(find_series, server, replace(wanted, modality=modality or _modality(bundle)))
        if watch is not None:
            with held(out):
                _watch(_station(server, flags), find, watch)
            return
        found = _some(find())  # before the network is loaded
        with held(out):
            station = _station(server, flags)
            new = [each for each in found if not station.journal.is_done(each)]
            logger.info("%d series, %d of them done before", len(found), len(found) - len(new))
            all_done = station.run(new)
        logger.info("%d of %d series are done", sum(map(station.journal.is_done, found)), len(found))
    raise typer.Exit(int(not all_done))


@pacs.command()
def push(
    url: UrlArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="DICOM files; of a folder its .seg.dcm and .rtstruct.dcm.")
    ],
    ca_bundle: CaFlag = None,
    plain_http: PlainFlag = False,
    quiet: job.QuietFlag = False,
    verbose: job.VerboseFlag = False,
) -> None:
    """Store DICOM files in the PACS; what is there already stays as it is."""
    with _told(quiet, verbose, None):
        server = _server(url, ca_bundle, plain_http)
        failed = 0
        for path in (each for given in files for each in _files(given)):
            try:
                push_file(server, path)
            except CaseError as error:
                failed += 1
                logger.error("%s: %s", error.code, error.message)
    raise typer.Exit(int(failed > 0))


def _modality(bundle: str) -> str | None:
    """What the bundle segments, as DICOM calls it; None where its metadata do not say."""
    image = roots.metadata(roots.bundle(bundle)).get("network_data_format", {}).get("inputs", {}).get("image", {})
    return image.get("modality")


def _station(server: Server, flags: dict[str, Any]) -> Station:
    """What segments. InputError: no such bundle, or not for a PACS; nothing to send."""
    from pipeline.inference.batch import segment_folder
    from pipeline.inference.pacs import Station
    from pipeline.inference.pacs_journal import Journal
    from pipeline.inference.plan import Draw, Plan
    from pipeline.inference.segmenter import Segmenter
    from pipeline.report.overlay import overlay

    out, formats = flags["out"], tuple(flags["format_"] or (Format.DICOM_SEG,))
    sent = () if flags["no_push"] else tuple(f.suffix for f in formats if f.suffix in (SEG_SUFFIX, RTSTRUCT_SUFFIX))
    if not (sent or flags["no_push"]):
        raise InputError("a PACS takes DICOM: add --format dicom-seg or --format rtstruct, or give --no-push")
    segmenter = Segmenter.from_bundle(flags["bundle"], device=flags["device"])
    if segmenter.spatial_dims != 3:
        raise InputError(f"--bundle {flags['bundle']} segments pictures: `evoseg pacs pull`, then `evoseg segment`")
    settings = {"allow_tilt": flags["allow_tilt"], "no_push": flags["no_push"]}
    chosen = (name for name, is_set in settings.items() if is_set)
    made_by = (segmenter.name, segmenter.version, segmenter.weights_sha256[:16], *formats, *chosen)
    plan = Plan(formats=formats, resume=True, arguments={"url": server.url, **settings})
    return Station(
        server=server,
        out=out,
        segment=lambda cases: segment_folder(cases, segmenter, out, plan, draw=Draw(overlay=overlay)),
        journal=Journal(out, " ".join(map(str, made_by))),
        sent=sent,
        keep_scans=flags["keep_scans"],
        allow_tilt=flags["allow_tilt"],
    )


def _watch(station: Station, find: Callable[[], list[Series]], interval_s: float) -> None:
    logger.info("looking for new series every %.0f s; Ctrl-C or SIGTERM ends it", interval_s)
    try:
        station.watch(find, interval_s=interval_s, pause=time.sleep)
    except KeyboardInterrupt:
        logger.info("stopped; the same command goes on")


def _server(url: str, ca_bundle: Path | None, plain_http: bool) -> Server:
    return Server(url, authorization=authorization(), ca_bundle=ca_bundle, plain_http=plain_http)


def _wanted(flags: dict[str, Any]) -> Wanted:
    return Wanted(**{name: flags[name] for name in Wanted.__dataclass_fields__})


def _some(found: Sequence[Series]) -> Sequence[Series]:
    if not found:
        raise InputError("no series of the server matches: `evoseg pacs query` shows what there is")
    return found


def _files(given: Path) -> list[Path]:
    """InputError: there is nothing to send."""
    if given.is_file():
        return [given]
    found = sorted(path for suffix in (SEG_SUFFIX, RTSTRUCT_SUFFIX) for path in given.rglob(f"*{suffix}"))
    if not found:
        raise InputError(f"{given} is no file, and no folder with {SEG_SUFFIX} or {RTSTRUCT_SUFFIX} files: give others")
    return found


@contextmanager
def _told(quiet: bool, verbose: bool, log_file: Path | None) -> Iterator[None]:
    """Messages go where they should, and SIGTERM, by which a service is stopped, is Ctrl-C."""
    from rich.console import Console

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with messages(Console(stderr=True), quiet=quiet, verbose=verbose, log_file=log_file):
            yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
