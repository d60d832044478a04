"""What KEDA asks: how much work a tenant has, queued and in flight together.

The length of the queue alone would be 0 while the last images are drawn, and the workers that draw
them would be taken away. Only KEDA may ask: its certificate's URI says so.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import structlog
from grpc import aio

from database.pool import UNREACHABLE_ERRORS, open_pool
from services.fleet.backlog import BacklogEstimate
from services.fleet.open_work import Open, OpenWork
from services.fleet.settings import Settings
from services.internal.keda import externalscaler_pb2 as keda
from services.internal.keda import externalscaler_pb2_grpc as keda_grpc
from services.transport.callers import require_role
from services.transport.identities import ProcessRole
from services.transport.served_port import ServedPort
from services.transport.tls_files import identity_files

_METRIC: Final = "atelier_open_work"
_MESSAGE_BYTES_MAX: Final = 64 * 1024
_LOOK_SECONDS: Final = 1.0

Context: TypeAlias = aio.ServicerContext[Any, Any]

log = structlog.get_logger()


class Unit(StrEnum):
    """In what a ScaledObject counts."""

    IMAGES = "images"
    GPU_SECONDS = "gpu_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a ScaledObject's metadata says."""

    tenant_id: str
    # None: all of them.
    model: str | None
    unit: Unit
    # How much of it one worker is for.
    target: float


def parse_question(reference: keda.ScaledObjectRef) -> Question:
    """Read a ScaledObject's metadata.

    Raises:
        ValueError: says what it lacks.
    """
    given = reference.scalerMetadata
    if not given.get("tenant"):
        raise ValueError("metadata: tenant is missing")
    try:
        target = float(given.get("target", ""))
    except ValueError:
        target = 0.0
    if not (isfinite(target) and target > 0):
        raise ValueError("metadata: target is a number above 0")
    return Question(
        tenant_id=given["tenant"],
        model=given.get("model") or None,
        unit=Unit(given.get("unit", Unit.IMAGES)),
        target=target,
    )


class Scaler(keda_grpc.ExternalScalerServicer):
    """Answers from the database alone; what it cannot read it does not make up."""

    def __init__(self, work: OpenWork) -> None:
        self._work = work

    async def IsActive(
        self, request: keda.ScaledObjectRef, context: Context
    ) -> keda.IsActiveResponse:
        await require_role(context, ProcessRole.KEDA)
        return await self._is_active(request, context)

    async def StreamIsActive(
        self, request: keda.ScaledObjectRef, context: Context
    ) -> AsyncIterator[keda.IsActiveResponse]:
        await require_role(context, ProcessRole.KEDA)
        told: keda.IsActiveResponse | None = None
        while True:
            answer = await self._is_active(request, context)
            if answer != told:
                yield answer
            told = answer
            await asyncio.sleep(_LOOK_SECONDS)

    async def GetMetricSpec(
        self, request: keda.ScaledObjectRef, context: Context
    ) -> keda.GetMetricSpecResponse:
        await require_role(context, ProcessRole.KEDA)
        question = await _understood(request, context)
        spec = keda.MetricSpec(
            metricName=_METRIC,
            targetSize=max(1, round(question.target)),
            targetSizeFloat=question.target,
        )
        return keda.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(
        self, request: keda.GetMetricsRequest, context: Context
    ) -> keda.GetMetricsResponse:
        await require_role(context, ProcessRole.KEDA)
        question = await _understood(request.scaledObjectRef, context)
        found = await self._open(question, context)
        amount = found.images if question.unit is Unit.IMAGES else found.gpu_seconds
        # A whole number for older KEDA, never 0 while there is work.
        value = keda.MetricValue(
            metricName=_METRIC, metricValue=ceil(amount), metricValueFloat=amount
        )
        return keda.GetMetricsResponse(metricValues=[value])

    async def _is_active(
        self, request: keda.ScaledObjectRef, context: Context
    ) -> keda.IsActiveResponse:
        found = await self._open(await _understood(request, context), context)
        return keda.IsActiveResponse(result=found.images > 0)

    async def _open(self, question: Question, context: Context) -> Open:
        try:
            return await self._work.of(question.tenant_id, model=question.model)
        except UNREACHABLE_ERRORS as error:
            # KEDA keeps the workers there are; a 0 would end them.
            log.warning("backlog_unknown", reason=str(error))
            await _refuse(context, grpc.StatusCode.UNAVAILABLE, "the database does not answer")


@asynccontextmanager
async def serving_scaler(settings: Settings) -> AsyncGenerator[int | None]:
    """Answer KEDA while this is open, if that is wished; yields the port."""
    if settings.scaler_listen_address is None:
        yield None
        return
    assert settings.identity_directory is not None, "the settings have been checked"
    url = settings.database_url.get_secret_value()
    async with open_pool(url, size_max=2, application_name="fleet-scaler") as pool:
        estimate = BacklogEstimate(
            picture_seconds_before_measured=settings.picture_seconds_before_measured
        )
        service = Scaler(OpenWork(pool, estimate))
        port = ServedPort(
            lambda server: keda_grpc.add_ExternalScalerServicer_to_server(service, server),
            settings.scaler_listen_address,
            identity_files(settings.identity_directory),
            message_bytes_max=_MESSAGE_BYTES_MAX,
        )
        number = await port.open()
        try:
            yield number
        finally:
            await port.close()


async def _understood(reference: keda.ScaledObjectRef, context: Context) -> Question:
    try:
        return parse_question(reference)
    except ValueError as error:
        await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))


async def _refuse(context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
    await context.abort(code, reason)
    raise AssertionError("abort raises")
