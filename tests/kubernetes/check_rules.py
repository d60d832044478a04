"""`make check-prometheus`: the alert rules read and tried by promtool, as Prometheus would."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy" / "kubernetes" / "monitoring" / "rules.yaml"
TESTS: Final = ROOT / "tests" / "kubernetes" / "rules_test.yaml"


def main() -> None:
    """Take the rules out of their manifest and hand them to promtool; end with its verdict."""
    promtool = shutil.which("promtool")
    if promtool is None:
        sys.exit("NOT CHECKED: there is no promtool here; install Debian's package prometheus")
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
        tests = shutil.copy(TESTS, folder)
        for words in (("check", "rules", rules), ("test", "rules", tests)):
            subprocess.run([promtool, *words], check=True)


if __name__ == "__main__":
    main()
