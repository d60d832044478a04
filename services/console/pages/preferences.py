"""What a visitor likes: dark or light."""

from starlette.responses import Response

from services.console.visit import THEME_COOKIE, THEMES, Visit, own_path, see

_A_YEAR_SECONDS = 365 * 24 * 3600


async def theme(visit: Visit) -> Response:
    answer = see(own_path(visit.form.text("next"), otherwise="/"))
    wanted = visit.form.text("theme")
    if wanted in THEMES:
        answer.set_cookie(
            THEME_COOKIE,
            wanted,
            max_age=_A_YEAR_SECONDS,
            httponly=True,
            samesite="strict",
            secure=visit.parts.settings.tls,
        )
    return answer
