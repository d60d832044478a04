/** Money between people's decimals and the contract's nanos, exactly. */

import { create } from "@bufbuild/protobuf";
import { type Money, MoneySchema } from "./contract/atelier/v1/money_pb.js";

const NANOS_PER_UNIT = 1_000_000_000n;

/**
 * Make an amount, such as `money("12.50", "EUR")`.
 *
 * A number with decimals is not accepted: 0.1 is not a tenth.
 *
 * @throws RangeError not a decimal number, or finer than a billionth.
 */
export function money(amount: string | bigint | number, currency: string): Money {
  return create(MoneySchema, { currencyCode: currency, nanos: toNanos(amount) });
}

/** Write a decimal amount in billionths. */
export function toNanos(amount: string | bigint | number): bigint {
  if (typeof amount === "number" && !Number.isSafeInteger(amount)) {
    throw new RangeError(`${amount} is a floating-point number: write it as text`);
  }
  const [, sign, whole, decimals = ""] = /^([+-]?)(\d+)(?:\.(\d*))?$/.exec(String(amount)) ?? [];
  if (whole === undefined) {
    throw new RangeError(`'${amount}' is not a decimal number`);
  }
  const fraction = decimals.replace(/0+$/, "");
  if (fraction.length > 9) {
    throw new RangeError(`${amount} is finer than a billionth`);
  }
  const nanos = BigInt(whole) * NANOS_PER_UNIT + BigInt(fraction.padEnd(9, "0"));
  return sign === "-" ? -nanos : nanos;
}

/** Write an amount for people, exact, with at least two decimals. */
export function formatMoney(amount: Money): string {
  const sign = amount.nanos < 0n ? "-" : "";
  const nanos = amount.nanos < 0n ? -amount.nanos : amount.nanos;
  const decimals = String(nanos % NANOS_PER_UNIT).padStart(9, "0");
  const shown = decimals.replace(/0+$/, "").padEnd(2, "0");
  return `${sign}${nanos / NANOS_PER_UNIT}.${shown} ${amount.currencyCode}`.trimEnd();
}
