/**
 * Order a batch, never for more than a bound, and save each picture as it comes:
 * `node dist/examples/campaign.js FOLDER`.
 */

import { join } from "node:path";
import { Client, formatMoney, InsufficientBalanceError, imageCame, jobNeedsNobody } from "atelier";

const [folder = "."] = process.argv.slice(2);
const PROMPTS = ["a red mug", "a blue vase", "a green chair"];

const client = new Client();
try {
  const quote = await client.quoteJob(PROMPTS);
  // Whatever happens, the job never costs more than what was quoted.
  const maxCost = quote.hold ? { maxCost: quote.hold } : {};
  const job = await client.createJob(PROMPTS, { displayName: "spring", ...maxCost });
  for await (const image of job.images()) {
    if (imageCame(image)) {
      await client.saveImage(image.name, join(folder, `${image.imageNumber}.png`));
    } else {
      console.log(`image ${image.imageNumber} did not come: ${image.failure?.message}`);
    }
  }
  const finished = await job.wait();
  if (jobNeedsNobody(finished) && finished.price) {
    console.log(`${finished.succeededCount} pictures for ${formatMoney(finished.price)}`);
  }
} catch (error) {
  if (!(error instanceof InsufficientBalanceError)) {
    throw error;
  }
  console.log(`The wallet does not cover it: ${error.message}`);
  process.exitCode = 3;
} finally {
  client.close();
}
