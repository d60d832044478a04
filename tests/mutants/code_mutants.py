"""Careless changes of the code that counts money, written by hand; some test must notice each."""

# ruff: noqa: E501 - the lines that are changed stand here as they stand in their files

from dataclasses import dataclass
from typing import Final

MONEY: Final = "tests/integration/metering"
UNIT: Final = "tests/unit/metering"
JOBS: Final = "tests/integration/services/jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMutant:
    """One change of one place; ``tests`` are those that should notice."""

    title: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def full_title(self) -> str:
        """With its place."""
        return f"{self.path}: {self.title}"


def _mutant(title: str, path: str, old: str, new: str, *tests: str) -> CodeMutant:
    return CodeMutant(title=title, path=path, old=old, new=new, tests=tests)


CODE_MUTANTS: Final = (
    _mutant(
        "a fence: the claim token is not compared",
        "services/jobs/image_moves.sql",
        "AND attempt = %(attempt)s AND claim_token = %(claim_token)s",
        "",
        f"{JOBS}/test_image_lifecycle.py",
        f"{JOBS}/test_image_states_model.py",
    ),
    _mutant(
        "a fence: an image is taken whatever its state",
        "services/jobs/image_moves.sql",
        "AND state = 'QUEUED'",
        "",
        f"{JOBS}/test_image_states_model.py",
    ),
    _mutant(
        "the request id is looked for but not claimed",
        "services/jobs/requests.sql",
        "\nON CONFLICT DO NOTHING",
        "",
        f"{MONEY}/test_conformance_kit.py",
    ),
    _mutant(
        "another body under the same request id passes",
        "services/jobs/requests.py",
        "!= (method, body_sha256)",
        "!= (method, bytes(found[1]))",
        "tests/integration/services/gateway/test_server.py",
        "tests/integration/services/gateway/test_bad_input.py",
        "tests/integration/services/gateway/test_jobs.py",
    ),
    _mutant(
        "the latest price instead of the pinned one",
        "services/jobs/charging.py",
        "price = await get_price(conn, job.price_id)",
        "from metering.price_book import list_prices; price = (await list_prices(conn, limit=1, currency=job.currency))[0]",
        f"{MONEY}/test_tiered_prices.py",
    ),
    _mutant(
        "a price above the hold is charged",
        "metering/holds.py",
        "charged_nanos = min(price_nanos, hold.amount_nanos)",
        "charged_nanos = price_nanos",
        f"{MONEY}/test_invariants.py",
        f"{MONEY}/test_usage.py",
    ),
    _mutant(
        "what exceeds the hold is not written off",
        "metering/holds.py",
        "if price_nanos > charged_nanos:",
        "if price_nanos < charged_nanos:",
        f"{MONEY}/test_write_off.py",
    ),
    _mutant(
        "a sign: releases add to the hold",
        "metering/accounts.sql",
        "debits_pending = debits_pending - CASE kind WHEN 'WALLET' THEN %(hold_nanos)s",
        "debits_pending = debits_pending + CASE kind WHEN 'WALLET' THEN %(hold_nanos)s",
        f"{MONEY}/test_invariants.py",
    ),
    _mutant(
        "a hold is freed but nothing charged",
        "metering/accounts.sql",
        "debits_posted = debits_posted + CASE kind WHEN 'WALLET' THEN %(amount_nanos)s ELSE 0 END,\n    credits_pending",
        "credits_pending",
        f"{MONEY}/test_invariants.py",
    ),
    _mutant(
        "budgets are not asked",
        "metering/holds.py",
        "    await hold_in_budgets(conn, tenant_id=tenant_id, job_id=job_id, amount_nanos=amount_nanos)\n",
        "",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "a project's budget counts every project",
        "metering/budgets.sql",
        "AND budget.project IN ('', job.project)",
        "",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "a key's budget counts every key",
        "metering/budgets.sql",
        "AND budget.key_id IN ('', job.key_id)",
        "",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "the excess of a lowered limit may be used",
        "metering/budgets.sql",
        "used_nanos > limit_nanos)",
        "false)",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "a job does not say which counters carry it",
        "metering/budgets.sql",
        "    SELECT tenant_id, %(job_id)s, budget_id, period_start\n    FROM held",
        "    SELECT tenant_id, %(job_id)s, budget_id, period_start\n    FROM held WHERE false",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "what failed stays held in its budget",
        "metering/holds.py",
        "    await resolve_in_budgets(conn, holds)\n",
        "",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "alerts come one too late",
        "metering/budgets.sql",
        "::numeric * 100 >= limit_nanos",
        "::numeric * 100 > limit_nanos",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "a day of UTC instead of the tenant's",
        "metering/budgets.sql",
        "budget.period, tenant.time_zone, now())",
        "budget.period, 'UTC', now())",
        f"{MONEY}/test_budgets.py",
    ),
    _mutant(
        "a budget whose period becomes longer begins empty",
        "metering/budget_periods.py",
        '    await conn.execute(_QUERIES["move_jobs"], counter)\n',
        "",
        f"{MONEY}/test_budget_changes.py",
    ),
    _mutant(
        "another clock gives a budget twice",
        "metering/budget_periods.py",
        '        _QUERIES["move_ends"],',
        '        _QUERIES["lock_budgets_of_tenant"],',
        f"{MONEY}/test_budget_changes.py",
    ),
    _mutant(
        "lots are used last first",
        "metering/credit_lots.sql",
        "OVER (ORDER BY priority, expire_time NULLS LAST, lot_id)",
        "OVER (ORDER BY priority DESC, expire_time NULLS LAST, lot_id)",
        f"{MONEY}/test_credit_lots.py",
    ),
    _mutant(
        "what never expires is used first",
        "metering/credit_lots.sql",
        "OVER (ORDER BY priority, expire_time NULLS LAST, lot_id)",
        "OVER (ORDER BY priority, expire_time NULLS FIRST, lot_id)",
        f"{MONEY}/test_credit_lots.py",
    ),
    _mutant(
        "credit expires under an open hold",
        "metering/credit_lots.sql",
        "wallet.credits_posted - wallet.debits_posted - wallet.debits_pending",
        "wallet.credits_posted - wallet.debits_posted",
        f"{MONEY}/test_credit_lots.py",
    ),
    _mutant(
        "new credit forgets what was owed",
        "metering/credit_lots.sql",
        "greatest(0, debits_posted - (credits_posted - %(amount_nanos)s))",
        "0",
        f"{MONEY}/test_credit_lots.py",
    ),
    _mutant(
        "half up instead of half to even",
        "metering/money.py",
        "quotient % 2 == 1",
        "True",
        f"{UNIT}/test_money.py",
        f"{UNIT}/test_rating.py",
    ),
    _mutant(
        "a float: microseconds of a GPU",
        "metering/rating.py",
        "round(Fraction(self.gpu_seconds) * _MICROSECONDS_PER_SECOND)",
        "int(self.gpu_seconds * 1e6)",
        f"{UNIT}/test_rating.py",
        f"{UNIT}/test_rating_oracle.py",
    ),
    _mutant(
        "each tier is rounded by itself",
        "metering/rating.py",
        "through_nanos = divide_half_even(exact, unit.count * MILLIONTHS)",
        "through_nanos = rounded_nanos + divide_half_even(portion.count * portion.unit_price_nanos * multiplier, unit.count * MILLIONTHS)",
        f"{UNIT}/test_rating_oracle.py",
    ),
    _mutant(
        "a tier ends one unit early",
        "metering/quantity_tiers.py",
        "if quantity <= tier.up_to_quantity * unit_count",
        "if quantity < tier.up_to_quantity * unit_count",
        f"{UNIT}/test_rating_oracle.py",
    ),
    _mutant(
        "a ceiling takes the cheapest tier",
        "metering/quantity_tiers.py",
        "return max(*reachable, part.unit_price_nanos)",
        "return min(*reachable, part.unit_price_nanos)",
        f"{UNIT}/test_rating.py",
    ),
    _mutant(
        "the tier's multiplier is forgotten in the ceiling",
        "metering/rating.py",
        "multiplier = price.multiplier_millionths(ordered.tier)",
        "multiplier = MILLIONTHS",
        f"{UNIT}/test_rating.py",
    ),
    _mutant(
        "partial energy is charged",
        "metering/rating.py",
        "return source in MEASURED_SOURCES",
        "return True",
        f"{UNIT}/test_rating.py",
    ),
    _mutant(
        "a model's own price is added to the general one's count",
        "metering/period_counts.py",
        "if kind is part.kind and price.component_of(kind, model) is part",
        "if kind is part.kind",
        f"{UNIT}/test_rating_oracle.py",
    ),
    _mutant(
        "a discount counts below its threshold",
        "metering/period_charges.py",
        "above_nanos = max(0, subtotal_nanos - discount.threshold_nanos)",
        "above_nanos = max(0, subtotal_nanos)",
        f"{UNIT}/test_period_charges.py",
    ),
    _mutant(
        "the minimum comes before the discounts",
        "metering/period_charges.py",
        "shortfall_nanos = max(0, price.minimum_per_period_nanos - net_nanos)",
        "shortfall_nanos = max(0, price.minimum_per_period_nanos - subtotal_nanos)",
        f"{UNIT}/test_period_charges.py",
    ),
    _mutant(
        "credit that expired is there again when its hold is given back",
        "metering/holds.py",
        "    await expire_due_credit(conn, tenant_id=holds[0].tenant_id, currency=holds[0].currency)\n",
        "",
        f"{MONEY}/test_credit_lots.py",
    ),
    _mutant(
        "waiting is discounted like images",
        "metering/period_charges.py",
        "discounts = _discounts(price, subtotal_nanos)",
        "discounts = _discounts(price, subtotal_nanos + _parked_nanos(price, parked))",
        f"{UNIT}/test_period_charges.py",
    ),
    _mutant(
        "estimates of waiting are charged whatever the price says",
        "metering/parked_energy.py",
        "if price.charge_estimated_energy:",
        "if not price.charge_estimated_energy:",
        f"{MONEY}/test_parked_energy.py",
    ),
    _mutant(
        "a month that owes only a minimum is passed over",
        "metering/invoice_chain.py",
        "waiting_ids = list(self.owed_ids[:1])",
        "waiting_ids: list[str] = []",
        f"{MONEY}/test_invoice_order.py",
    ),
    _mutant(
        "drafts promise prepaid credit twice",
        "metering/invoice_drafts.py",
        "promised_nanos += totals.credit_applied_nanos",
        "promised_nanos += 0",
        f"{MONEY}/test_invoice_order.py",
    ),
    _mutant(
        "the book of today instead of that of the period",
        "metering/price_book.sql",
        "WHERE tenant_id = %(tenant_id)s AND effective_time <= %(at)s",
        "WHERE tenant_id = %(tenant_id)s",
        f"{MONEY}/test_invoice_order.py",
    ),
    _mutant(
        "the counter after instead of before the image",
        "metering/period_counters.sql",
        "SELECT counted.component, counted.model, counted.quantity\nFROM period_quantities AS counted\nJOIN period",
        "SELECT counted.component, counted.model, counted.quantity + 1 AS quantity\nFROM period_quantities AS counted\nJOIN period",
        f"{MONEY}/test_tiered_prices.py",
    ),
    _mutant(
        "a block forgets the one before it",
        "metering/ledger_chain.sql",
        "coalesce((array_agg(block_sha256 ORDER BY block_number DESC))[1],\n            sha256(convert_to(%(tenant_id)s, 'UTF8')))",
        "sha256(convert_to(%(tenant_id)s, 'UTF8'))",
        f"{MONEY}/test_ledger_chain.py",
    ),
    _mutant(
        "a sealed transfer stays on the list",
        "metering/ledger_chain.sql",
        "WHERE transfer_id IN (SELECT transfer_id FROM waiting)",
        "WHERE false",
        f"{MONEY}/test_ledger_chain.py",
    ),
    _mutant(
        "late energy is added to the sums and the early part stays in them",
        "metering/energy_amendments.sql",
        "energy_millijoules = rolled.energy_millijoules - summed.energy_millijoules,",
        "energy_millijoules = rolled.energy_millijoules,",
        f"{MONEY}/test_energy_amendments.py",
    ),
    _mutant(
        "an amended image leaves the sums for good",
        "metering/energy_amendments.sql",
        "    SELECT tenant_id, image_id\n    FROM summed\n",
        "    SELECT tenant_id, image_id\n    FROM summed WHERE false\n",
        f"{MONEY}/test_energy_amendments.py",
    ),
    _mutant(
        "an invoice shows the energy that was known when it was charged",
        "metering/invoice_usage.sql",
        "JOIN shown_usage AS used ON",
        "JOIN usage_records AS used ON",
        f"{MONEY}/test_energy_amendments.py",
    ),
    _mutant(
        "a page of days ends a day early",
        "metering/usage_reports.sql",
        "LIMIT 1 OFFSET %(days)s::bigint - 1",
        "LIMIT 1 OFFSET greatest(0, %(days)s::bigint - 2)",
        f"{MONEY}/test_usage_roll_ups.py",
    ),
)
