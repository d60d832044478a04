import assert from "node:assert/strict";
import { test } from "node:test";
import { jobSpec } from "../src/job-calls.js";
import { formatMoney, money } from "../src/money.js";
import { baseUrl, resolveLogin } from "../src/settings.js";

test("money is exact in both directions", () => {
  assert.equal(money("12.50", "EUR").nanos, 12_500_000_000n);
  assert.equal(money("-0.000000001", "EUR").nanos, -1n);
  assert.equal(formatMoney(money("1234.5", "USD")), "1234.50 USD");
  assert.equal(formatMoney(money("-0.0075", "USD")), "-0.0075 USD");
});

test("money is neither a float nor finer than a billionth", () => {
  assert.throws(() => money(0.1, "EUR"), RangeError);
  assert.throws(() => money("0.0000000001", "EUR"), RangeError);
  assert.throws(() => money("ten", "EUR"), RangeError);
});

test("a key crosses a network in clear text only where http asks for it", () => {
  assert.equal(baseUrl("127.0.0.1:7431"), "http://127.0.0.1:7431");
  assert.equal(baseUrl("[::1]:7431"), "http://[::1]:7431");
  assert.equal(baseUrl("atelier.example:7431"), "https://atelier.example:7431");
  assert.equal(baseUrl("https://atelier.example"), "https://atelier.example:443");
  assert.equal(baseUrl("http://atelier.example:80"), "http://atelier.example:80");
  assert.throws(() => baseUrl("localhost"), /has no port/);
  assert.throws(() => baseUrl("ftp://localhost:1"), /is no address/);
});

test("without a key it is said what to do", () => {
  assert.throws(() => resolveLogin({}, {}, "/nowhere/login.json"), /run `atelier login`/);
  assert.deepEqual(resolveLogin({}, { ATELIER_API_KEY: "k" }, "/nowhere/login.json"), {
    address: "127.0.0.1:7431",
    apiKey: "k",
  });
});

test("a prompt, an image's spec and a job's spec mean the same", () => {
  const wanted = { image: { prompt: "a red mug" }, count: 1 };

  assert.deepEqual(jobSpec("a red mug"), wanted);
  assert.deepEqual(jobSpec({ prompt: "a red mug" }), wanted);
  assert.deepEqual(jobSpec(wanted), wanted);
});
