/**
 * Draw two pictures of one prompt and save them: `node dist/examples/generate.js FOLDER`.
 *
 * Address and key come from ATELIER_ADDRESS and ATELIER_API_KEY, or from `atelier login`.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "atelier";

const [folder = "."] = process.argv.slice(2);
const client = new Client();
const pictures = await client.generate("a photo of a red mug", { count: 2 });
for (const { image, data } of pictures) {
  const path = join(folder, `mug-${image.imageNumber}.png`);
  await writeFile(path, data);
  console.log(`${path}: seed ${image.spec?.seed}, ${image.receipt?.energyMillijoules} mJ`);
}
client.close();
