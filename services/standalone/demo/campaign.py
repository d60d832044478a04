"""One studio's campaign: ordered through the command line, followed, fetched."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.standalone.demo.drawn_image import DrawnImage
from services.standalone.demo.errors import DemoFailedError
from services.standalone.demo.gateway_client import save_picture, watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Who orders what."""

    tenant_id: str
    key: str
    address: str
    csv_path: Path

    def order(self) -> str:
        """Order through `atelier jobs create` and return the job's name."""
        program = Path(sys.executable).with_name("atelier")
        ordered = subprocess.run(
            [program, "--format", "json", "jobs", "create", "--from", self.csv_path],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": os.environ.get("HOME", "/"),
                "ATELIER_ADDRESS": self.address,
                "ATELIER_API_KEY": self.key,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if ordered.returncode != 0:
            raise DemoFailedError(
                f"{self.tenant_id}: `atelier jobs create` ended with {ordered.returncode}:\n"
                f"{ordered.stdout}{ordered.stderr}"
            )
        return str(json.loads(ordered.stdout)["name"])

    def follow(self, job: str, *, tell: Callable[[float, int, int], None]) -> list[DrawnImage]:
        """Follow the job to its end and return its images."""
        return watch(self.address, self.key, job, tell=tell)

    def fetch(self, images: list[DrawnImage], folder: Path) -> dict[str, Path]:
        """Save the pictures that came; return image name → file."""
        folder.mkdir(parents=True, exist_ok=True)
        saved: dict[str, Path] = {}
        for image in images:
            if image.succeeded:
                path = folder / image.file_name
                save_picture(self.address, self.key, image, path)
                saved[image.name] = path
        return saved
