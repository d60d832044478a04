"""A small identity provider: real keys, real signatures, its keys served by https on loopback."""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from tests.https_server import Reply, serving_https

AUDIENCE: Final = "atelier-tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKey:
    """A private key of the provider, and the name under which its public half is published."""

    key_id: str
    algorithm: str
    private: Any

    def jwk(self, **changes: Any) -> dict[str, Any]:
        algorithm = get_default_algorithms()[self.algorithm]
        public = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return public | {"kid": self.key_id, "use": "sig", "alg": self.algorithm} | changes


@cache
def kept_keys() -> tuple[ProviderKey, ...]:
    """One of each kind; making an RSA key takes a while."""
    kinds = {"first": "ES256", "second": "EdDSA", "third": "RS256"}
    return tuple(new_key(key_id, algorithm) for key_id, algorithm in kinds.items())


def new_key(key_id: str, algorithm: str = "ES256") -> ProviderKey:
    if algorithm.startswith(("RS", "PS")):
        private: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = ec.generate_private_key(ec.SECP256R1())
    return ProviderKey(key_id=key_id, algorithm=algorithm, private=private)


@dataclass(slots=True, kw_only=True)
class IdentityProvider:
    """What it answers can be changed while it serves."""

    url: str
    ca_path: Path
    keys: list[ProviderKey]
    is_down: bool = False
    paths_asked: list[str] = field(default_factory=list[str])

    def token(
        self,
        key: ProviderKey | None = None,
        *,
        headers: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        """Sign a token as this provider would, but for what a test changes."""
        signer = key or self.keys[0]
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "somebody",
            "iat": now,
            "exp": now + 300,
        } | claims
        return jwt.encode(
            {name: value for name, value in said.items() if name not in without},
            signer.private,
            algorithm=signer.algorithm,
            headers={"kid": signer.key_id, "typ": "at+jwt"} | (headers or {}),
        )

    def issuers_file(self, path: Path, **changes: Any) -> Path:
        """Write the gateway's file that trusts this provider."""
        said: dict[str, Any] = {
            "url": self.url,
            "audiences": [AUDIENCE],
            "algorithms": ["RS256", "ES256", "EdDSA"],
            "binding_claims": ["groups"],
            "private_networks": ["127.0.0.0/8"],
            "ca_path": str(self.ca_path),
        } | changes
        # A TOML value of these kinds is written as JSON writes it.
        lines = [f"{name} = {json.dumps(value)}" for name, value in said.items()]
        path.write_text("\n".join(["[[issuer]]", *lines, ""]))
        return path

    def answer(self, path: str) -> dict[str, Any] | None:
        self.paths_asked.append(path)
        if self.is_down:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [key.jwk() for key in self.keys]}


@contextmanager
def running_provider(directory: Path) -> Generator[IdentityProvider]:
    """Serve a provider."""

    def answer(path: str) -> Reply:
        said = provider.answer(path)
        return Reply(content=json.dumps(said).encode(), status=503 if said is None else 200)

    with serving_https(answer, name="localhost", directory=directory) as server:
        provider = IdentityProvider(
            url=f"https://localhost:{server.port}",
            ca_path=server.ca_path,
            keys=[*kept_keys()],
        )
        yield provider
