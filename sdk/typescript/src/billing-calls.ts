/** Money: wallet, prices, invoices, budgets. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { Calls, newRequestId } from "./calls.js";
import {
  type Balance,
  BillingService,
  type Budget,
  type BudgetSchema,
  type CreditNote,
  type GrantCreditResponse,
  type Invoice,
  InvoiceFileKind,
  type RefundCreditResponse,
  type SimulatePriceResponse,
  type Transfer,
  type VerifyLedgerResponse,
} from "./contract/atelier/v1/billing_service_pb.js";
import type { Money } from "./contract/atelier/v1/money_pb.js";
import type { PriceVersion, PriceVersionSchema } from "./contract/atelier/v1/price_pb.js";
import { type DownloadedFile, readFileParts } from "./files.js";
import { topName } from "./names.js";
import { entriesOfPages } from "./pages.js";

/** The period that is not over yet. */
export const RUNNING_PERIOD = "current";

/** How prepaid credit may be used. */
export interface GrantOptions {
  readonly description?: string;
  readonly expireTime?: Date;
  /** Lower ones are used first; among equals those that expire first. */
  readonly priority?: number;
  readonly requestId?: string;
}

/** How an invoice was paid. */
export interface PaymentOptions {
  readonly paymentTime?: Date;
  readonly reference?: string;
  readonly requestId?: string;
}

/** The calls of BillingService. */
export class BillingCalls extends Calls {
  getBalance(): Promise<Balance> {
    return this.connection.call(billing(this).getBalance, { name: `${this.parent}/balance` });
  }

  /** Yield what moved, newest first. */
  listTransfers({
    startTime,
    endTime,
  }: {
    startTime?: Date;
    endTime?: Date;
  } = {}): AsyncGenerator<Transfer, void, undefined> {
    const { parent } = this;
    const bounds = {
      ...(startTime && { startTime: timestampFromDate(startTime) }),
      ...(endTime && { endTime: timestampFromDate(endTime) }),
    };
    const fetch = (pageToken: string) =>
      this.connection.call(billing(this).listTransfers, { parent, pageToken, ...bounds });
    return entriesOfPages(fetch, (page) => page.transfers);
  }

  /** Operator: put prepaid credit into the tenant's wallet. */
  grantCredit(
    amount: Money,
    { requestId, expireTime, ...options }: GrantOptions = {},
  ): Promise<GrantCreditResponse> {
    return this.connection.call(billing(this).grantCredit, {
      parent: this.parent,
      requestId: newRequestId(requestId),
      amount,
      ...options,
      ...(expireTime && { expireTime: timestampFromDate(expireTime) }),
    });
  }

  /** Operator: take credit that was paid back outside out of the tenant's wallet. */
  refundCredit(
    amount: Money,
    reference: string,
    requestId?: string,
  ): Promise<RefundCreditResponse> {
    return this.connection.call(billing(this).refundCredit, {
      parent: this.parent,
      requestId: newRequestId(requestId),
      amount,
      reference,
    });
  }

  /** Yield the tenant's price versions, newest first; operators may see all. */
  listPrices({ ofAllBooks = false } = {}): AsyncGenerator<PriceVersion, void, undefined> {
    const parent = ofAllBooks ? "" : this.parent;
    const fetch = (pageToken: string) =>
      this.connection.call(billing(this).listPrices, { parent, pageToken });
    return entriesOfPages(fetch, (page) => page.priceVersions);
  }

  /** Operator: make a new version of a price book. */
  createPriceVersion(
    priceVersion: MessageInitShape<typeof PriceVersionSchema>,
    requestId?: string,
  ): Promise<PriceVersion> {
    return this.connection.call(billing(this).createPriceVersion, {
      priceVersion,
      requestId: newRequestId(requestId),
    });
  }

  /** Operator: price a past period, such as "2026-11", by another price. */
  simulatePrice(
    billingPeriod: string,
    price: string | MessageInitShape<typeof PriceVersionSchema>,
  ): Promise<SimulatePriceResponse> {
    return this.connection.call(billing(this).simulatePrice, {
      parent: this.parent,
      billingPeriod,
      price:
        typeof price === "string"
          ? { case: "priceVersion", value: topName("priceVersions", price) }
          : { case: "draft", value: price },
    });
  }

  /** Yield invoices without their lines, newest first, the running period's draft included. */
  listInvoices(): AsyncGenerator<Invoice, void, undefined> {
    const { parent } = this;
    const fetch = (pageToken: string) =>
      this.connection.call(billing(this).listInvoices, { parent, pageToken });
    return entriesOfPages(fetch, (page) => page.invoices);
  }

  /** Get an invoice by its period, such as "2026-11". */
  getInvoice(invoice = RUNNING_PERIOD): Promise<Invoice> {
    return this.connection.call(billing(this).getInvoice, {
      name: this.nameOf("invoices", invoice),
    });
  }

  /** Fetch an invoice as a file, checked against its hash. */
  downloadInvoice(
    invoice = RUNNING_PERIOD,
    fileKind: InvoiceFileKind = InvoiceFileKind.PDF,
  ): Promise<DownloadedFile> {
    const name = this.nameOf("invoices", invoice);
    return readFileParts(this.connection.stream(billing(this).downloadInvoice, { name, fileKind }));
  }

  /** Operator: give a finished period's draft its number. */
  finalizeInvoice(invoice: string, requestId?: string): Promise<Invoice> {
    return this.connection.call(billing(this).finalizeInvoice, {
      name: this.nameOf("invoices", invoice),
      requestId: newRequestId(requestId),
    });
  }

  /** Operator: an invoice was paid. */
  recordPayment(
    invoice: string,
    amount: Money,
    { requestId, paymentTime, ...options }: PaymentOptions = {},
  ): Promise<Invoice> {
    return this.connection.call(billing(this).recordPayment, {
      name: this.nameOf("invoices", invoice),
      requestId: newRequestId(requestId),
      amount,
      ...options,
      ...(paymentTime && { paymentTime: timestampFromDate(paymentTime) }),
    });
  }

  /** Operator: an invoice is void. */
  voidInvoice(invoice: string, reason: string, requestId?: string): Promise<Invoice> {
    return this.connection.call(billing(this).voidInvoice, {
      name: this.nameOf("invoices", invoice),
      requestId: newRequestId(requestId),
      reason,
    });
  }

  /** Operator: correct a finalized invoice. */
  createCreditNote(
    invoice: string,
    amount: Money,
    reason: string,
    requestId?: string,
  ): Promise<CreditNote> {
    return this.connection.call(billing(this).createCreditNote, {
      parent: this.nameOf("invoices", invoice),
      requestId: newRequestId(requestId),
      amount,
      reason,
    });
  }

  /** Make or change a budget; it is replaced as a whole. */
  setBudget(budget: MessageInitShape<typeof BudgetSchema>): Promise<Budget> {
    return this.connection.call(billing(this).setBudget, { budget });
  }

  /** Yield budgets and what is used of them. */
  listBudgets(): AsyncGenerator<Budget, void, undefined> {
    const { parent } = this;
    const fetch = (pageToken: string) =>
      this.connection.call(billing(this).listBudgets, { parent, pageToken });
    return entriesOfPages(fetch, (page) => page.budgets);
  }

  /** Have every balance and the hash chain derived anew. */
  verifyLedger(): Promise<VerifyLedgerResponse> {
    return this.connection.call(billing(this).verifyLedger, { parent: this.parent });
  }
}

function billing(calls: BillingCalls): Client<typeof BillingService> {
  return calls.connection.service(BillingService);
}
