"""Pictures: the page of one, the file, thumbnails, previews, and all of a job as a zip."""

from collections.abc import AsyncGenerator, Iterator
from typing import Final, Protocol, cast

from starlette.responses import Response, StreamingResponse
from zipstream import ZipStream  # pyright: ignore[reportMissingTypeStubs]

from atelier import AsyncClient
from atelier.v1.image_pb2 import Image, ImageState
from atelier.v1.job_service_pb2 import ImageFilter
from services.console.errors import PageNotFoundError
from services.console.pages.job import image_id, job_id
from services.console.pictures import picture_type
from services.console.visit import Visit

# Pictures never change; a key that was revoked must not be outlived for long.
_KEPT_FOR_A_WHILE: Final = "private, max-age=600"


async def image(visit: Visit) -> Response:
    """Show one image with its receipt: as a page, or what is in it for the lightbox."""
    found = await visit.client.get_image(image_id(visit), job=job_id(visit))
    is_part = visit.request.headers.get("hx-request") == "true"
    template = "parts/image_detail.html" if is_part else "image.html"
    return visit.page(template, image=found, job_id=job_id(visit))


async def picture(visit: Visit) -> Response:
    data = await visit.client.download_image(image_id(visit), job=job_id(visit))
    media_type, ending = picture_type(data)
    kind = "attachment" if visit.query("download") else "inline"
    return Response(
        data,
        media_type=media_type,
        headers={
            "cache-control": _KEPT_FOR_A_WHILE,
            "content-disposition": f'{kind}; filename="{image_id(visit)}.{ending}"',
        },
    )


async def thumbnail(visit: Visit) -> Response:
    await visit.confirm()
    job, one = job_id(visit), image_id(visit)
    data = await visit.parts.thumbnails.get(
        f"{visit.visitor.tenant_id}/{job}/{one}",
        lambda: visit.client.download_image(one, job=job),
    )
    headers = {"cache-control": _KEPT_FOR_A_WHILE}
    return Response(data, media_type="image/webp", headers=headers)


async def preview(visit: Visit) -> Response:
    """Show the unfinished picture, while somebody watches its job."""
    name = f"tenants/{visit.visitor.tenant_id}/jobs/{job_id(visit)}"
    view = visit.door.jobs.view(name)
    data = view.previews.get(f"{name}/images/{image_id(visit)}") if view else None
    if data is None:
        raise PageNotFoundError
    return Response(data, media_type=picture_type(data)[0])


async def archive(visit: Visit) -> Response:
    """Send all finished pictures of a job as a zip that is made on the way."""
    found = await visit.client.get_job(job_id(visit))
    return StreamingResponse(
        _zipped(visit.client, found.name),
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{job_id(visit)}.zip"'},
    )


class GrowingZip(Protocol):
    """zipstream's ZipStream, as far as it is used here; it comes without types."""

    def add(self, data: bytes, arcname: str) -> None: ...
    def all_files(self) -> Iterator[bytes]: ...
    def finalize(self) -> Iterator[bytes]: ...


async def _zipped(client: AsyncClient, job: str) -> AsyncGenerator[bytes, None]:
    # Not compressed: pictures are already.
    stream = cast("GrowingZip", ZipStream(sized=False))
    finished = ImageFilter(states=[ImageState.IMAGE_STATE_SUCCEEDED])
    async for found in client.list_images(job, finished):
        data = await client.download_image(found.name)
        stream.add(data, file_name(found, data))
        for chunk in stream.all_files():
            yield chunk
    for chunk in stream.finalize():
        yield chunk


def file_name(found: Image, data: bytes) -> str:
    """Name a picture in an archive: its number, and its reference as far as files may have it."""
    reference = "".join(
        one if one.isalnum() or one in "-_" else "_" for one in found.spec.client_ref
    )
    number = f"{found.image_number:04}"
    return (
        f"{number}-{reference[:80]}.{picture_type(data)[1]}"
        if reference
        else (f"{number}.{picture_type(data)[1]}")
    )
