import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Code } from "@connectrpc/connect";
import {
  BudgetExceededError,
  CallError,
  Client,
  DownloadCorruptError,
  InsufficientBalanceError,
  NO_RETRIES,
  RateLimitedError,
  UnavailableError,
} from "../src/index.js";
import {
  imageNews,
  JOB,
  JobState,
  jobNews,
  PICTURE,
  refusal,
  SmallServer,
} from "./small-server.js";

let server: SmallServer;
let client: Client;

beforeEach(async () => {
  server = new SmallServer();
  const address = await server.listen();
  client = new Client({ address, apiKey: "key", retryPolicy: { firstDelaySeconds: 0.001 } });
});

afterEach(() => {
  client.close();
  server.close();
});

test("a call that finds nobody is made again with the same request id and the key", async () => {
  server.refusals.push(refusal(Code.Unavailable, "DRAINING"), refusal(Code.Unavailable, ""));

  const job = await client.orderJob(["a red mug"]);

  assert.equal(job.name, JOB);
  assert.equal(server.requestIds.length, 3);
  assert.equal(new Set(server.requestIds).size, 1);
  assert.deepEqual([...new Set(server.authorizations)], ["Bearer key"]);
});

test("a limit is waited for as long as its server says, and no longer than the policy", async () => {
  server.refusals.push(refusal(Code.ResourceExhausted, "RATE_LIMITED", 0.01));
  await client.orderJob(["a red mug"]);
  server.refusals.push(refusal(Code.ResourceExhausted, "RATE_LIMITED", 3600));

  await assert.rejects(client.orderJob(["a red mug"]), (error) => {
    assert.ok(error instanceof RateLimitedError);
    assert.equal(error.status.retryDelaySeconds, 3600);
    return true;
  });

  assert.equal(server.requestIds.length, 3);
});

test("a limit without a word on when to come back is not tried again", async () => {
  server.refusals.push(refusal(Code.ResourceExhausted, "BUDGET_EXCEEDED"));

  await assert.rejects(client.orderJob(["a red mug"]), BudgetExceededError);

  assert.equal(server.requestIds.length, 1);
});

test("a refusal is thrown as the class of its reason, with code and reason", async () => {
  server.refusals.push(refusal(Code.FailedPrecondition, "INSUFFICIENT_BALANCE"));

  await assert.rejects(client.orderJob(["a red mug"]), (error) => {
    assert.ok(error instanceof InsufficientBalanceError);
    assert.equal(error.name, "InsufficientBalanceError");
    assert.equal(error.status.code, "FAILED_PRECONDITION");
    assert.equal(error.message, "INSUFFICIENT_BALANCE: scripted");
    return true;
  });
});

test("a reason this version does not know gets the class of its status code", async () => {
  server.refusals.push(refusal(Code.FailedPrecondition, "MOON_IN_THE_WRONG_HOUSE"));

  await assert.rejects(client.orderJob(["a red mug"]), {
    name: "PreconditionError",
    reason: "MOON_IN_THE_WRONG_HOUSE",
  });
});

test("where nobody listens, patience ends with an UnavailableError", async () => {
  const alone = new Client({ address: "127.0.0.1:9", apiKey: "key", retryPolicy: NO_RETRIES });

  await assert.rejects(alone.getJob("j1"), UnavailableError);

  alone.close();
});

test("a list reads all its pages", async () => {
  const names: string[] = [];
  for await (const job of client.listJobs()) {
    names.push(job.name);
  }

  assert.deepEqual(names, ["j1", "j2", "j3"]);
});

test("a page of a list is had alone, with the token of the next", async () => {
  const first = await client.jobsPage();
  const second = await client.jobsPage({}, { pageToken: first.nextPageToken });
  const images = await client.imagesPage("j1");

  assert.deepEqual(
    [...first.jobs, ...second.jobs].map((job) => job.name),
    ["j1", "j2", "j3"],
  );
  assert.deepEqual([second.nextPageToken, images.images.length], ["", 1]);
});

test("a watch that breaks goes on from the newest resume token", async () => {
  server.watchParts.push(
    [jobNews("1", JobState.RUNNING), imageNews("2", "i1")],
    [imageNews("3", "i2"), jobNews("4", JobState.SUCCEEDED)],
  );

  const tokens: string[] = [];
  for await (const news of client.watchJob("j1")) {
    tokens.push(news.resumeToken);
  }

  assert.deepEqual(tokens, ["1", "2", "3", "4"]);
  assert.deepEqual(server.resumeTokens, ["", "2"]);
});

test("a stream that ends before its job is resumed like a broken one", async () => {
  server.watchParts.push([jobNews("1", JobState.RUNNING)]);
  const watch = client.watchJob("j1");
  await watch.next();
  server.watchParts.push([jobNews("2", JobState.FAILED)]);

  const { value } = await watch.next();

  assert.equal(value?.resumeToken, "2");
});

test("finished images come once each, also those that ended before the stream began", async () => {
  server.watchParts.push([
    imageNews("1", "i2"),
    imageNews("2", "i2"),
    jobNews("3", JobState.SUCCEEDED),
  ]);

  const names: string[] = [];
  for await (const image of client.finishedImages("j1")) {
    names.push(image.name);
  }

  assert.deepEqual(names, [`${JOB}/images/i2`, `${JOB}/images/i1`]);
});

test("a download that breaks goes on where it broke", async () => {
  server.breakDownloadAfter = 70_000;

  const data = await client.downloadImage("i1", "j1");

  assert.deepEqual(Buffer.from(data), PICTURE);
  assert.deepEqual(server.readOffsets, [0n, 70_000n]);
});

test("a wrong picture is found by its hash and leaves no file", async () => {
  server.picture = Buffer.alloc(PICTURE.length, "another one");
  const folder = await mkdtemp(join(tmpdir(), "atelier-"));

  await assert.rejects(client.saveImage("i1", join(folder, "i1.png"), "j1"), DownloadCorruptError);

  assert.deepEqual(await readdir(folder), []);
});

test("a saved picture is whole", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "atelier-")), "new", "i1.png");

  const file = await client.saveImage("i1", path, "j1");

  assert.equal(file.byteCount, BigInt(PICTURE.length));
  assert.deepEqual(await readFile(path), PICTURE);
});

test("a call that the server does not know is named so", async () => {
  await assert.rejects(client.getBalance(), (error) => {
    assert.ok(error instanceof CallError);
    assert.equal(error.status.code, "UNIMPLEMENTED");
    return true;
  });
});
