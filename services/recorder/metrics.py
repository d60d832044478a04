"""What the recorder tells Prometheus."""

import os
from contextlib import suppress

from database.pool import Pool
from services.metrics import names
from services.metrics.database_looks import DatabaseLook
from services.metrics.exposition import Exposition
from services.metrics.metric import Sample, counted
from services.metrics.pools import pool_source
from services.recorder.finishing import Finishing
from services.recorder.refusals import Refusals
from services.recorder.spool import Spool
from services.recorder.uploader import Uploader


def recorder_exposition(
    *,
    finishing: Finishing,
    refusals: Refusals,
    uploader: Uploader,
    database: DatabaseLook,
    pools: tuple[Pool, ...],
) -> Exposition:
    """Join what the parts of the recorder count."""
    exposition = Exposition("recorder")
    exposition.add("database", database.samples)
    exposition.add("pools", pool_source(*pools))
    exposition.add("attempts", lambda: _attempts(finishing, refusals))
    exposition.add("spool", lambda: _spool(finishing.spool))
    exposition.add("uploads", lambda: _uploads(finishing, uploader))
    return exposition


def _attempts(finishing: Finishing, refusals: Refusals) -> list[Sample]:
    return [
        *counted(names.ATTEMPTS_ENDED, finishing.tally.ended),
        *counted(names.PICTURES, finishing.tally.pictures),
        *counted(names.REFUSALS, refusals.totals),
    ]


def _uploads(finishing: Finishing, uploader: Uploader) -> list[Sample]:
    return [
        Sample(names.SPOOL_FAILURES, finishing.tally.spool_failures),
        Sample(names.UPLOADS, uploader.stored_count),
        Sample(names.UPLOAD_FAILURES, uploader.failure_count),
        Sample(names.PICTURES_MISSING, uploader.missing_count),
    ]


def _spool(spool: Spool) -> list[Sample]:
    """Look at the directory itself: what lies there is what an outage of the store costs."""
    files = _files(spool)
    oldest = [Sample(names.SPOOL_OLDEST, min(file.st_mtime for file in files))] if files else []
    return [
        Sample(names.SPOOL_PICTURES, len(files)),
        Sample(names.SPOOL_BYTES, sum(file.st_size for file in files)),
        Sample(names.SPOOL_FREE_BYTES, spool.bytes_free()),
        *oldest,
    ]


def _files(spool: Spool) -> list[os.stat_result]:
    found: list[os.stat_result] = []
    with os.scandir(spool.directory) as entries:
        for entry in entries:
            # It may be carried away between the two.
            with suppress(FileNotFoundError):
                found.append(entry.stat())
    return found
