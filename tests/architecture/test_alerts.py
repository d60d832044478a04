"""The alert rules speak of metrics that are told, and each has a runbook."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from services.metrics import names

ROOT: Final = Path(__file__).resolve().parents[2]
MONITORING: Final = ROOT / "deploy" / "kubernetes" / "monitoring"
METRIC: Final = re.compile(r"\batelier_[a-z_]+\b")
PORT: Final = 9464


def rules() -> Sequence[dict[str, Any]]:
    manifest = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    return [rule for group in manifest["spec"]["groups"] for rule in group["rules"]]


def name_of(rule: dict[str, Any]) -> str:
    return rule["alert"]


@pytest.mark.parametrize("rule", rules(), ids=name_of)
def test_a_rule_asks_for_metrics_that_are_told(rule: dict[str, Any]) -> None:
    told = {metric.name for metric in names.ALL}

    asked = set(METRIC.findall(rule["expr"]))

    assert asked
    assert asked - told == set()


@pytest.mark.parametrize("rule", rules(), ids=name_of)
def test_a_rule_has_a_severity_and_a_section_of_a_runbook(rule: dict[str, Any]) -> None:
    page, _, section = rule["annotations"]["runbook"].partition("#")

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert f"\n## {section}\n\n`{rule['alert']}`: " in (ROOT / page).read_text()


def test_each_process_that_tells_metrics_listens_where_it_is_scraped() -> None:
    component = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    monitor, policy = yaml.safe_load_all((MONITORING / "scraping.yaml").read_text())

    told = {
        operation["value"]["name"]: operation["value"]["value"]
        for patch in component["patches"]
        for operation in yaml.safe_load(patch["patch"])
        if "env" in operation["path"]
    }

    processes = ("GATEWAY", "RECORDER", "METER", "FLEET", "HOUSEKEEPER")
    assert told == {f"ATELIER_{one}_METRICS_LISTEN_ADDRESS": f"0.0.0.0:{PORT}" for one in processes}
    assert monitor["spec"]["selector"] == policy["spec"]["podSelector"]
