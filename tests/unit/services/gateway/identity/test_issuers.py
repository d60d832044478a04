"""The file of trusted issuers: what it may say, and what ends the start."""

from pathlib import Path

import pytest

from services.gateway.identity.errors import IssuersError
from services.gateway.identity.issuers import read_issuers

SHORTEST = """
[[issuer]]
url = "https://id.example/realms/studio"
audiences = ["atelier"]
algorithms = ["RS256"]
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "issuers.toml"
    path.write_text(text)
    return path


def test_what_is_left_out_is_strict(tmp_path: Path) -> None:
    (issuer,) = read_issuers(written(tmp_path, SHORTEST))

    assert issuer.jwks_url is None
    assert issuer.binding_claims == frozenset()
    assert issuer.private_networks == ()
    assert [issuer.admits_type(name) for name in ("at+jwt", "application/at+JWT", "JWT")] == [
        True,
        True,
        False,
    ]
    assert (issuer.lifetime_seconds_max, issuer.leeway_seconds) == (3600.0, 30.0)


def test_no_issuer_is_an_answer(tmp_path: Path) -> None:
    assert read_issuers(written(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('algorithms = ["HS256"]', "algorithms"),
        ('algorithms = ["none"]', "algorithms"),
        ("algorithms = []", "algorithms"),
        ("audiences = []", "audiences"),
        ('url = "http://id.example"', "https"),
        ('url = "https://user@id.example"', "user"),
        ('jwks_url = "file:///etc/passwd"', "https"),
        ('jwks_url = "https://id.example/keys#part"', "fragment"),
        ("leeway_seconds = 121", "leeway_seconds"),
        ("lifetime_seconds_max = 86401", "lifetime_seconds_max"),
        ("keys_kept_seconds = 10", "keys_kept_seconds"),
        ('binding_claims = ["sub"]', "sub may always be bound"),
        ('private_networks = ["10.0.0.1/8"]', "private_networks"),
        ('ca_path = "/there/is/none"', "ca_path"),
        ("secret = 7", "secret"),
    ],
)
def test_what_must_not_be_so_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    name = line.partition(" ")[0]
    kept = [kept for kept in SHORTEST.splitlines() if not kept.startswith(f"{name} ")]

    with pytest.raises(IssuersError, match=complaint):
        read_issuers(written(tmp_path, "\n".join([*kept, line])))


def test_an_issuer_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IssuersError, match="twice"):
        read_issuers(written(tmp_path, SHORTEST * 2))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IssuersError, match="none"):
        read_issuers(tmp_path / "none")
