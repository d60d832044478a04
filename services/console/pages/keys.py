"""API keys: made with a secret that is shown once, given a new one, and ended."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from atelier.calls import timestamp
from atelier.errors import CallError, UnavailableError
from atelier.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyResponse,
    KeyRole,
    RotateApiKeyResponse,
)
from services.console.errors import PageNotFoundError
from services.console.refusals import reason_of
from services.console.visit import Visit, see

_ROLES: Final = {"member": KeyRole.KEY_ROLE_MEMBER, "admin": KeyRole.KEY_ROLE_ADMIN}
_DAYS_MAX: Final = 3650


async def keys(visit: Visit) -> Response:
    return await _page(visit)


async def create_key(visit: Visit) -> Response:
    """Make a key and show its secret in this very answer; a reload does not show it again."""
    try:
        made = await visit.client.create_api_key(
            _wanted(visit), request_id=visit.form.text("request_id")
        )
    except UnavailableError:
        raise
    except CallError as error:
        return await _page(visit, problems=reason_of(error))
    except ValueError as error:
        return await _page(visit, problems=[str(error)])
    return await _page(visit, made=made)


async def rotate_key(visit: Visit) -> Response:
    """Give a key a new secret, shown in this very answer; the old one works for a while."""
    try:
        rotated = await visit.client.rotate_api_key(
            key_id(visit), request_id=visit.form.text("request_id")
        )
    except UnavailableError:
        raise
    except CallError as error:
        return await _page(visit, problems=reason_of(error))
    return await _page(visit, rotated=rotated)


async def revoke_key(visit: Visit) -> Response:
    await visit.client.revoke_api_key(key_id(visit))
    return see("/keys")


def key_id(visit: Visit) -> str:
    text = visit.parameter("key")
    if not text.isascii() or not text.isalnum():
        raise PageNotFoundError
    return text


async def _page(
    visit: Visit,
    *,
    made: CreateApiKeyResponse | None = None,
    rotated: RotateApiKeyResponse | None = None,
    problems: Sequence[str] = (),
) -> Response:
    found = [key async for key in visit.client.list_api_keys()]
    own = visit.session.api_key.split("_")[2:3]
    return visit.page(
        "keys.html",
        status_code=422 if problems else 200,
        keys=found,
        own_key_id=own[0] if own else "",
        made=made,
        rotated=rotated,
        problems=problems,
        form=visit.form,
    )


def _wanted(visit: Visit) -> ApiKey:
    form = visit.form
    days = form.whole_number("days")
    if not 0 <= days <= _DAYS_MAX:
        raise ValueError(f"A key holds at most {_DAYS_MAX} days.")
    networks = [one.strip() for one in form.text("networks").split(",") if one.strip()]
    return ApiKey(
        display_name=form.text("display_name"),
        role=_ROLES.get(form.text("role"), KeyRole.KEY_ROLE_MEMBER),
        project=form.text("project"),
        expire_time=timestamp(visit.now + timedelta(days=days)) if days else None,
        allowed_networks=networks,
    )
