"""Callers with a signed token (OpenID Connect, JWT) in place of a key.

A token is read ([token_reading.py]), judged by the rules of its issuer ([token_rules.py]), its
signature checked with the issuer's keys ([signing_keys.py], [issuer_keys.py]), and only then is
asked what it opens ([binding_lookups.py]).
"""
