"""The rules that the contract puts on requests, enforced before anything else looks at them.

The generated code customers use carries no rules, so a request is parsed again into a private
descriptor pool that does. That costs microseconds for a message.
"""

from collections.abc import Sequence
from pathlib import Path

import protovalidate
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from protovalidate import FieldPathElementPb, FieldPathPb

from atelier.v1.job_service_pb2 import CreateJobRequest
from services.gateway.errors import FieldViolation

IMAGES_PER_JOB_MAX = 1000

_CONTRACT_FILE = Path(__file__).with_name("contract.binpb")


class RequestRules:
    """The contract's rules, compiled once for each message type at its first use."""

    def __init__(self, contract: bytes) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(contract).file:
            self._pool.Add(file)
        self._validator = protovalidate.Validator()

    def violations(self, request: Message) -> Sequence[FieldViolation]:
        """Name what breaks a rule, in the order of the fields; empty when nothing does."""
        descriptor = self._pool.FindMessageTypeByName(request.DESCRIPTOR.full_name)
        with_rules = message_factory.GetMessageClass(descriptor)()
        with_rules.MergeFromString(request.SerializeToString())
        found = [
            FieldViolation(
                field=field_path(violation.proto.field),
                reason=violation.proto.rule_id,
                description=violation.proto.message,
            )
            for violation in self._validator.collect_violations(with_rules)
        ]
        if isinstance(request, CreateJobRequest):
            found.extend(_too_many_images(request))
        return found


def load_request_rules() -> RequestRules:
    """Load the rules of the contract this gateway was built with."""
    return RequestRules(_CONTRACT_FILE.read_bytes())


def has_unknown_fields(request: Message) -> bool:
    """Tell whether a client of a newer contract set something that we would not see.

    What is not understood is refused: ignored in silence, it would give something else than what
    was asked for.
    """
    understood = type(request)()
    understood.CopyFrom(request)
    understood.DiscardUnknownFields()
    return understood.ByteSize() != request.ByteSize()


def field_path(path: FieldPathPb | None) -> str:
    """Write a path as clients write code: `job.specs[3].image.labels["sku"]`."""
    elements = path.elements if path is not None else []
    return ".".join(element.field_name + _subscript(element) for element in elements)


def _subscript(element: FieldPathElementPb) -> str:
    subscript = element.subscript
    if subscript is None:
        return ""
    if subscript.field == "string_key":
        return f'["{subscript.value}"]'
    return f"[{subscript.value}]"


def _too_many_images(request: CreateJobRequest) -> Sequence[FieldViolation]:
    """Bound the sum over a list, which the contract's rule language cannot express."""
    image_count = sum(max(spec.count, 1) for spec in request.job.specs)
    if image_count <= IMAGES_PER_JOB_MAX:
        return []
    return [
        FieldViolation(
            field="job.specs",
            reason="job.image_count_max",
            description=f"come to {image_count} images; a job has at most {IMAGES_PER_JOB_MAX}",
        )
    ]
