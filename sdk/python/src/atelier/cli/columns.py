"""What tables tell of each kind of thing."""

from collections.abc import Sequence

from atelier.cli.output import Column, enum_word, joules_text, moment_text
from atelier.money import format_money
from atelier.names import last_id
from atelier.v1.api_key_service_pb2 import ApiKey, ApiKeyState, KeyRole
from atelier.v1.billing_service_pb2 import Balance, CreditNote, Invoice, InvoiceLine, InvoiceState
from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.identity_service_pb2 import IdentityBinding
from atelier.v1.image_pb2 import Image, ImageState, OutputFormat, Tier
from atelier.v1.job_service_pb2 import Job, JobState
from atelier.v1.model_service_pb2 import Model
from atelier.v1.price_pb2 import PriceComponent, PriceComponentKind, PriceVersion
from atelier.v1.tenant_service_pb2 import Tenant, TenantState


def job_state_word(job: Job) -> str:
    """Write a job's state for people."""
    return enum_word(JobState.Name(job.state), "JOB_STATE")


def image_state_word(image: Image) -> str:
    """Write an image's state for people."""
    return enum_word(ImageState.Name(image.state), "IMAGE_STATE")


def energy_text(millijoules: int, source: "EnergySource.ValueType") -> str:
    """Write energy with where the figure came from: an estimate never looks like a reading."""
    word = enum_word(EnergySource.Name(source), "ENERGY_SOURCE")
    return f"{joules_text(millijoules)} {word}".rstrip() if word else ""


def _job_counts(job: Job) -> str:
    if not job.name:
        # A quote: nothing was ordered.
        return str(job.image_count)
    others = (
        ("running", job.running_count),
        ("queued", job.queued_count),
        ("quarantined", job.quarantined_count),
        ("failed", job.failed_count),
        ("blocked", job.blocked_count),
        ("cancelled", job.cancelled_count),
    )
    told = [f"{job.succeeded_count}/{job.image_count} done"]
    return ", ".join([*told, *(f"{count} {word}" for word, count in others if count)])


JOB_COLUMNS: Sequence[Column[Job]] = (
    Column("job", lambda job: last_id(job.name)),
    Column("state", job_state_word),
    Column("images", _job_counts),
    Column("price", lambda job: format_money(job.price) if job.HasField("price") else ""),
    Column("created", lambda job: moment_text(job.create_time)),
    Column("title", lambda job: job.display_name, is_text=True, is_detail=True),
)
JOB_DETAILS: Sequence[Column[Job]] = (
    Column("name", lambda job: job.name),
    *JOB_COLUMNS[1:],
    Column("tier", lambda job: enum_word(Tier.Name(job.tier), "TIER")),
    Column("project", lambda job: job.project),
    Column("at most", lambda job: format_money(job.hold) if job.HasField("hold") else ""),
    Column("ahead", lambda job: f"{job.queue_position} images" if job.queue_position else ""),
    Column("expected", lambda job: moment_text(job.estimated_finish_time)),
    Column("started", lambda job: moment_text(job.start_time)),
    Column("ended", lambda job: moment_text(job.end_time)),
    Column("retry of", lambda job: last_id(job.retry_of)),
)
IMAGE_COLUMNS: Sequence[Column[Image]] = (
    Column("#", lambda image: str(image.image_number), is_number=True),
    Column("image", lambda image: last_id(image.name)),
    Column("state", image_state_word),
    Column("ref", lambda image: image.spec.client_ref, is_detail=True),
    Column("seed", lambda image: str(image.spec.seed), is_number=True, is_detail=True),
    Column(
        "seconds",
        lambda image: f"{image.receipt.gpu_seconds:.2f}" if image.HasField("receipt") else "",
        is_number=True,
    ),
    Column(
        "energy",
        lambda image: energy_text(image.receipt.energy_millijoules, image.receipt.energy_source),
        is_number=True,
    ),
    Column(
        "price",
        lambda image: format_money(image.receipt.price) if image.HasField("receipt") else "",
        is_number=True,
    ),
    Column("why not", lambda image: image.failure.reason),
    Column("prompt", lambda image: _shortened(image.spec.prompt), is_text=True, is_detail=True),
)
KEY_COLUMNS: Sequence[Column[ApiKey]] = (
    Column("key", lambda key: last_id(key.name)),
    Column("title", lambda key: key.display_name, is_text=True, is_detail=True),
    Column("role", lambda key: enum_word(KeyRole.Name(key.role), "KEY_ROLE")),
    Column("state", lambda key: enum_word(ApiKeyState.Name(key.state), "API_KEY_STATE")),
    Column("project", lambda key: key.project),
    Column("created", lambda key: moment_text(key.create_time)),
    Column("expires", lambda key: moment_text(key.expire_time)),
    Column("old secret until", lambda key: moment_text(key.old_secret_expire_time)),
    Column("only from", lambda key: ", ".join(key.allowed_networks), is_text=True),
)
IDENTITY_COLUMNS: Sequence[Column[IdentityBinding]] = (
    Column("binding", lambda binding: last_id(binding.name)),
    Column("title", lambda binding: binding.display_name, is_text=True, is_detail=True),
    Column("issuer", lambda binding: binding.issuer, is_text=True),
    Column("claim", lambda binding: binding.claim, is_text=True),
    Column("value", lambda binding: binding.claim_value, is_text=True),
    Column("role", lambda binding: enum_word(KeyRole.Name(binding.role), "KEY_ROLE")),
    Column("project", lambda binding: binding.project),
    Column("created", lambda binding: moment_text(binding.create_time)),
    Column("only from", lambda binding: ", ".join(binding.allowed_networks), is_text=True),
)
TENANT_COLUMNS: Sequence[Column[Tenant]] = (
    Column("tenant", lambda tenant: last_id(tenant.name)),
    Column("title", lambda tenant: tenant.display_name, is_text=True),
    Column("state", lambda tenant: enum_word(TenantState.Name(tenant.state), "TENANT_STATE")),
    Column("currency", lambda tenant: tenant.currency_code),
    Column("price book", lambda tenant: tenant.price_book),
    Column("created", lambda tenant: moment_text(tenant.create_time)),
)
TENANT_DETAILS: Sequence[Column[Tenant]] = (
    Column("name", lambda tenant: tenant.name),
    *TENANT_COLUMNS[1:],
    Column("legal name", lambda tenant: tenant.legal_name),
    Column("address", lambda tenant: tenant.postal_address),
    Column("VAT id", lambda tenant: tenant.vat_id),
    Column("time zone", lambda tenant: tenant.time_zone),
    Column("calls a minute", lambda tenant: str(tenant.quotas.calls_per_minute_max or "")),
    Column("calls in flight", lambda tenant: str(tenant.quotas.calls_in_flight_max or "")),
    Column("images queued", lambda tenant: str(tenant.quotas.queued_images_max or "")),
    Column(
        "picture format",
        lambda tenant: (
            enum_word(OutputFormat.Name(tenant.settings.default_output_format), "OUTPUT_FORMAT")
            if tenant.settings.default_output_format
            else ""
        ),
    ),
    Column("GPU weight", lambda tenant: f"{tenant.quotas.gpu_weight:g}"),
    Column(
        "credit limit",
        lambda tenant: format_money(tenant.credit_limit) if tenant.HasField("credit_limit") else "",
    ),
)
INVOICE_COLUMNS: Sequence[Column[Invoice]] = (
    Column("invoice", lambda invoice: last_id(invoice.name)),
    Column("number", lambda invoice: invoice.invoice_number),
    Column("state", lambda invoice: enum_word(InvoiceState.Name(invoice.state), "INVOICE_STATE")),
    Column("images", lambda invoice: str(invoice.image_count), is_number=True),
    Column("energy", lambda invoice: joules_text(invoice.energy_millijoules), is_number=True),
    Column("before tax", lambda invoice: format_money(invoice.net_total), is_number=True),
    Column("tax", lambda invoice: format_money(invoice.tax_total), is_number=True),
    Column("total", lambda invoice: format_money(invoice.total), is_number=True),
    Column("due", lambda invoice: format_money(invoice.due), is_number=True),
)
CREDIT_NOTE_COLUMNS: Sequence[Column[CreditNote]] = (
    Column("number", lambda note: note.credit_note_number),
    Column("amount", lambda note: format_money(note.amount), is_number=True),
    Column("of it tax", lambda note: format_money(note.tax), is_number=True),
    Column("reason", lambda note: note.reason, is_text=True),
)
LINE_COLUMNS: Sequence[Column[InvoiceLine]] = (
    Column("#", lambda line: str(line.line_number), is_number=True),
    Column("what for", lambda line: line.description, is_text=True),
    Column("quantity", lambda line: f"{line.consumed_quantity} {line.consumed_unit}".strip()),
    Column("amount", lambda line: format_money(line.billed_cost), is_number=True),
)
PRICE_COLUMNS: Sequence[Column[PriceVersion]] = (
    Column("price", lambda price: last_id(price.name)),
    Column("book", lambda price: price.price_book),
    Column("currency", lambda price: price.currency_code),
    Column("from", lambda price: moment_text(price.effective_time)),
    Column(
        "charges",
        lambda price: "; ".join(_component(part) for part in price.components),
        is_text=True,
    ),
    Column("title", lambda price: price.display_name, is_text=True, is_detail=True),
)
MODEL_COLUMNS: Sequence[Column[Model]] = (
    Column("model", lambda model: last_id(model.name)),
    Column("default", lambda model: "yes" if model.default_model else ""),
    Column("size", lambda model: ", ".join(f"{s.width}x{s.height}" for s in model.native_sizes)),
    Column("side", lambda model: f"{model.side_pixels_min} to {model.side_pixels_max}"),
    Column(
        "steps",
        lambda model: (
            f"{model.num_inference_steps_min} to {model.num_inference_steps_max}"
            f" ({model.num_inference_steps_default})"
        ),
    ),
    Column("precision", lambda model: f"{model.precision} {model.backend}".strip()),
    Column("title", lambda model: model.display_name, is_text=True, is_detail=True),
)
BALANCE_COLUMNS: Sequence[Column[Balance]] = (
    Column("available", lambda balance: format_money(balance.available)),
    Column("posted", lambda balance: format_money(balance.posted)),
    Column("held", lambda balance: format_money(balance.held)),
    Column("credit limit", lambda balance: format_money(balance.credit_limit)),
)


def _component(part: PriceComponent) -> str:
    kind = enum_word(PriceComponentKind.Name(part.kind), "PRICE_COMPONENT_KIND")
    prices = " / ".join(f"{tier.unit_price_nanos / 1e9:.9f}".rstrip("0") for tier in part.tiers)
    model = f" ({last_id(part.model)})" if part.model else ""
    return f"{kind}{model} {prices}"


def _shortened(prompt: str, characters_max: int = 60) -> str:
    return prompt if len(prompt) <= characters_max else f"{prompt[: characters_max - 1]}…"
