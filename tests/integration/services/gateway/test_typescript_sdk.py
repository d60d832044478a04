"""The TypeScript SDK: its own tests, then an admin's day against a gateway on a real socket."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from database.pool import Pool
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio

SDK = Path(__file__).parents[4] / "sdk" / "typescript"
NODE = shutil.which("node")
PICTURE = b"a picture of a bicycle"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        NODE is None or not (SDK / "node_modules" / ".bin" / "tsc").exists(),
        reason="the TypeScript SDK is not installed: it needs Node 20, then `make setup`",
    ),
]


@pytest.fixture(scope="module")
def built_sdk() -> Path:
    """Compile what changed; quick when nothing did."""
    subprocess.run([SDK / "node_modules/.bin/tsc", "--project", SDK], check=True, cwd=SDK)
    return SDK / "dist"


@pytest.fixture
async def drawer(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[None]:
    """Draw whatever the studio orders, as it comes."""
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        one = Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)
        drawing = asyncio.create_task(draw_for_ever(one))
        yield
        drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drawing


async def draw_for_ever(drawer: Drawer) -> None:
    while True:
        if await is_waiting(drawer.pool, drawer.tenant_id):
            await drawer.succeed(await drawer.claim(), PICTURE)
        await asyncio.sleep(0.02)


async def is_waiting(pool: Pool, tenant_id: TenantId) -> bool:
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT set_config('atelier.tenant_id', %s, true)", [tenant_id])
        found = await conn.execute("SELECT 1 FROM images WHERE state = 'QUEUED' LIMIT 1")
        return await found.fetchone() is not None


def test_its_own_tests_pass(built_sdk: Path) -> None:
    completed = subprocess.run(
        [str(NODE), "--test", built_sdk / "tests/"], capture_output=True, text=True, check=False
    )

    assert completed.returncode == 0, completed.stdout


async def test_an_admins_day(
    gateway: ServedGateway, acme: Studio, drawer: None, built_sdk: Path, tmp_path: Path
) -> None:
    script = await asyncio.create_subprocess_exec(
        str(NODE),
        str(built_sdk / "tests" / "live.js"),
        str(tmp_path),
        env={
            **os.environ,
            "ATELIER_ADDRESS": gateway.address,
            "ATELIER_API_KEY": str(acme.admin.key),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await script.communicate()

    assert script.returncode == 0
    told = json.loads(output)
    assert told["job"] == {
        "quotedHold": 2_000_000,
        "sameJob": True,
        "hashes": [True, True],
        "state": "SUCCEEDED",
        "price": 2_000_000,
        "resumed": True,
        "seeds": [False, True],
    }
    assert (tmp_path / "1.png").read_bytes() == PICTURE
    assert told["pictures"] == {"lengths": [len(PICTURE)] * 2, "streamed": len(PICTURE)}
    assert told["books"] == {
        "models": ["models/test-model", "models/other-model"],
        "images": 5,
        "records": 5,
        "newestChange": "OK",
        "csvLines": 6,
        "invoice": "%PDF-",
        "role": "ADMIN",
        "currency": "USD",
    }
    assert told["refusals"] == {
        "size": "FieldViolationError FIELD_VIOLATION job.specs[0].image.width",
        "foreign": "ResourceNotFoundError RESOURCE_NOT_FOUND ",
        "role": "RoleRequiredError ROLE_REQUIRED ",
        "cost": "MaxCostExceededError MAX_COST_EXCEEDED ",
        "reused": "RequestIdReusedError REQUEST_ID_REUSED request_id",
        "key": "KeyInvalidError KEY_INVALID ",
    }
