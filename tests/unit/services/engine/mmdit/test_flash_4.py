"""Is the optional attention package there, and whole?"""

import sys
from pathlib import Path

import pytest

from services.engine.mmdit.attention import has_flash_4


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flash_attn", "flash_attn.cute"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def install(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "flash_attn" / "cute"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_a_package_that_loads_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "", monkeypatch)

    assert has_flash_4()


def test_half_an_installation_counts_as_none_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "import its_compiler_that_is_missing", monkeypatch)

    assert not has_flash_4()
    assert "its_compiler_that_is_missing" in capsys.readouterr().out


def test_no_package_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    assert not has_flash_4()
    assert capsys.readouterr().out == ""
