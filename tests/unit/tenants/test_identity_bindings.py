from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tenants.api_keys import Role
from tenants.identity_bindings import (
    IdentityBinding,
    IdentityClaim,
    decisive_binding,
    distinct_keys,
    person_id,
)
from tenants.ids import BindingId, TenantId

DAY = datetime(2026, 11, 26, tzinfo=UTC)


def binding(
    name: str,
    *,
    tenant: str = "acme",
    claim: str = "groups",
    role: Role = Role.MEMBER,
    age: int = 0,
) -> IdentityBinding:
    return IdentityBinding(
        tenant_id=TenantId(tenant),
        binding_id=BindingId(name),
        issuer="https://id.example",
        claim=claim,
        claim_value=name,
        role=role,
        project="",
        display_name="",
        create_time=DAY - timedelta(days=age),
    )


def test_a_token_that_fits_nothing_opens_nothing() -> None:
    assert decisive_binding([]) is None


def test_a_token_that_fits_two_tenants_opens_neither() -> None:
    assert decisive_binding([binding("a"), binding("b", tenant="zeta")]) is None


def test_the_binding_of_the_person_goes_before_those_of_groups() -> None:
    person = binding("person", claim="sub")

    assert decisive_binding([binding("bosses", role=Role.ADMIN), person]) == person


def test_of_groups_the_higher_role_decides_and_then_the_older_binding() -> None:
    admin = binding("admins", role=Role.ADMIN)
    older = binding("older", age=1)

    assert decisive_binding([binding("all"), admin, older]) == admin
    assert decisive_binding([binding("all"), older]) == older


@given(st.permutations([binding("a"), binding("b", age=1), binding("c", role=Role.ADMIN)]))
def test_the_order_in_which_bindings_are_found_decides_nothing(
    found: list[IdentityBinding],
) -> None:
    decided = decisive_binding(found)

    assert decided is not None
    assert decided.binding_id == "c"


TEXTS = st.text(max_size=5)
CLAIMS = st.builds(IdentityClaim, issuer=TEXTS, claim=TEXTS, claim_value=TEXTS)


@given(CLAIMS, CLAIMS)
def test_two_claims_have_one_key_only_if_they_are_the_same(
    one: IdentityClaim, other: IdentityClaim
) -> None:
    assert (one.key == other.key) == (one == other)


@given(st.lists(CLAIMS))
def test_the_keys_of_a_token_do_not_depend_on_the_order_of_its_claims(
    claims: list[IdentityClaim],
) -> None:
    assert distinct_keys(claims) == distinct_keys(reversed(claims))


def test_a_person_has_an_id_that_a_keys_name_admits_and_no_key_has() -> None:
    name = person_id(issuer="https://id.example", subject="somebody")

    assert len(name) == 40
    assert name.isalnum()
    assert name.startswith("identity")
    assert name != person_id(issuer="https://id.example/", subject="somebody")
