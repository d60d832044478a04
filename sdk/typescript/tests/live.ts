/**
 * An admin's day against a live gateway; whoever starts it looks at what it prints.
 *
 * `node dist/tests/live.js FOLDER`, with ATELIER_ADDRESS and ATELIER_API_KEY set. Somebody must draw.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { KeyRole } from "../src/contract/atelier/v1/api_key_service_pb.js";
import { UsageDimension, UsageExportKind } from "../src/contract/atelier/v1/usage_service_pb.js";
import { CallError, Client, imageCame, JobState, money } from "../src/index.js";

const [folder = "."] = process.argv.slice(2);
const client = new Client();
const REQUEST_ID = "0b4f5a52-3a3f-4f0e-9d9e-1a2b3c4d5e6f";

async function orderAndFetch(): Promise<object> {
  const quote = await client.quoteJob(["a red mug", { prompt: "a blue vase", seed: 7n }]);
  const options = { requestId: REQUEST_ID, labels: { season: "spring" } };
  const job = await client.createJob(["a red mug", { prompt: "a blue vase", seed: 7n }], options);
  const again = await client.orderJob(["a red mug", { prompt: "a blue vase", seed: 7n }], options);
  const hashes: boolean[] = [];
  for await (const image of job.images()) {
    const path = join(folder, `${image.imageNumber}.png`);
    const file = await client.saveImage(image.name, path);
    const sha256 = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    hashes.push(imageCame(image) && sha256 === file.sha256);
  }
  const { state, price } = await job.wait();
  return {
    quotedHold: quote.hold?.nanos,
    sameJob: again.name === job.name,
    hashes,
    state: JobState[state],
    price: price?.nanos,
    resumed: await tokensAfterTheFirst(job.name),
    seeds: await seedsPageByPage(job.name),
  };
}

/** Watch from the first token on: the first piece of news must not come again. */
async function tokensAfterTheFirst(job: string): Promise<boolean> {
  const tokens = async (resumeToken: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const news of client.watchJob(job, { resumeToken })) {
      found.push(news.resumeToken);
    }
    return found;
  };
  const [first = "", ...rest] = await tokens("");
  const later = await tokens(first);
  return rest.length > 0 && rest.every((token) => later.includes(token));
}

async function seedsPageByPage(job: string): Promise<boolean[]> {
  const seeds: boolean[] = [];
  for await (const image of client.listImages(job, {}, { pageSize: 1 })) {
    seeds.push(image.spec?.seed === 7n);
  }
  return seeds;
}

async function generate(): Promise<object> {
  const pictures = await client.generate("a green chair", { count: 2 });
  let streamed = 0;
  for await (const { news } of client.streamImage({ prompt: "a lamp" }, { previews: false })) {
    streamed += news.case === "chunk" ? news.value.length : 0;
  }
  return { lengths: pictures.map((picture) => picture.data.length), streamed };
}

async function readBooks(): Promise<object> {
  const models: string[] = [];
  for await (const model of client.listModels()) {
    models.push(model.name);
  }
  const usage = await client.queryUsage([UsageDimension.MODEL]);
  const records: string[] = [];
  for await (const record of client.listUsageRecords({}, { pageSize: 2 })) {
    records.push(record.image);
  }
  const changes: string[] = [];
  for await (const event of client.listAuditEvents({ method: "JobService/CreateJob" })) {
    changes.push(event.code);
  }
  const csv = await client.exportUsage(UsageExportKind.CSV);
  const invoice = await client.downloadInvoice();
  return {
    models,
    images: usage.total?.imageCount,
    records: new Set(records).size,
    newestChange: changes[0],
    csvLines: Buffer.from(csv.data).toString("utf8").trimEnd().split("\n").length,
    invoice: Buffer.from(invoice.data.subarray(0, 5)).toString("latin1"),
    role: KeyRole[(await client.getInstallation()).role],
    currency: (await client.getBalance()).available?.currencyCode,
  };
}

async function refusals(): Promise<object> {
  const reasonOf = async (call: Promise<unknown>): Promise<string> => {
    try {
      await call;
      return "";
    } catch (error) {
      const named = error instanceof CallError ? error.reason : "";
      return `${(error as Error).name} ${named} ${(error as CallError).violations?.[0]?.subject ?? ""}`;
    }
  };
  const stranger = new Client({ apiKey: "atl_nobody" });
  const told = {
    size: await reasonOf(client.orderJob([{ prompt: "a mug", width: 17, height: 64 }])),
    foreign: await reasonOf(client.getJob("tenants/another/jobs/j1")),
    role: await reasonOf(client.createTenant("another", { displayName: "x" })),
    cost: await reasonOf(client.orderJob(["a mug"], { maxCost: money("0.000000001", "USD") })),
    reused: await reasonOf(client.orderJob(["another wish"], { requestId: REQUEST_ID })),
    key: await reasonOf(stranger.getBalance()),
  };
  stranger.close();
  return told;
}

async function main(): Promise<void> {
  const told = {
    job: await orderAndFetch(),
    pictures: await generate(),
    books: await readBooks(),
    refusals: await refusals(),
  };
  client.close();
  const plain = (_: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value);
  console.log(JSON.stringify(told, plain));
}

await main();
