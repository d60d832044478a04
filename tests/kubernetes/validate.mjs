// The schemas of KEDA and cert-manager over YAML files: node validate.mjs FILE…; `make check-kubernetes`.
import { readFileSync } from "node:fs";
import * as yaml from "js-yaml";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";
import * as certManager from "@kubernetes-models/cert-manager/cert-manager.io/v1";
const kinds = { "keda.sh/v1alpha1": keda, "cert-manager.io/v1": certManager };
let checked = 0;
for (const file of process.argv.slice(2))
  for (const one of yaml.loadAll(readFileSync(file, "utf8"))) {
    const known = kinds[one.apiVersion];
    if (!known) continue;
    const Kind = known[one.kind];
    if (!Kind) throw new Error(`no schema for ${one.kind}`);
    new Kind(one).validate(); checked += 1;
  }
console.log(`${checked} resources of KEDA and cert-manager are valid`);
