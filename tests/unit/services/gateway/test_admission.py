import grpc
import pytest

from services.gateway.admission import AdmissionGate
from services.gateway.errors import CallRefusedError
from tenants.ids import TenantId

ACME = TenantId("acme")
ZETA = TenantId("zeta")


def test_a_call_above_the_limit_is_refused_with_a_hint_when_to_retry() -> None:
    gate = AdmissionGate(calls_max=1, calls_per_tenant_max=1)

    with gate.admit(), pytest.raises(CallRefusedError) as refused, gate.admit():
        pass

    assert refused.value.refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.refusal.retry_delay is not None
    assert [v.subject for v in refused.value.refusal.quota_violations] == ["gateway"]


def test_a_place_is_free_again_when_its_call_ends_even_by_an_error() -> None:
    gate = AdmissionGate(calls_max=1, calls_per_tenant_max=1)

    with pytest.raises(ZeroDivisionError), gate.admit(), gate.admit_tenant(ACME):
        raise ZeroDivisionError

    with gate.admit(), gate.admit_tenant(ACME):
        assert gate.calls_in_flight == 1
    assert gate.calls_in_flight == 0


def test_one_tenant_cannot_take_the_places_of_another() -> None:
    gate = AdmissionGate(calls_max=10, calls_per_tenant_max=1)

    with gate.admit_tenant(ACME):
        with pytest.raises(CallRefusedError) as refused, gate.admit_tenant(ACME):
            pass
        with gate.admit_tenant(ZETA):
            pass

    assert [v.subject for v in refused.value.refusal.quota_violations] == ["tenants/acme"]
