/** Where the installation is and which key opens it: arguments, environment, login file. */

import { readFileSync } from "node:fs";
import { homedir, platform } from "node:os";
import { join } from "node:path";
import { ConfigurationError } from "./errors.js";

export const DEFAULT_ADDRESS = "127.0.0.1:7431";
const LOOPBACK_HOSTS = new Set(["localhost", "127.0.0.1", "::1", "[::1]"]);

/** What `atelier login` remembers. */
export interface Login {
  readonly address: string;
  readonly apiKey: string;
}

/** What a program may say of it; the rest is looked up. */
export interface GivenLogin {
  readonly address?: string | undefined;
  readonly apiKey?: string | undefined;
}

/**
 * Take what was given, else the environment, else the login file of the command line.
 *
 * The file's key is used for the file's address only: a key is not sent to strangers because
 * somebody set another address.
 *
 * @throws {@link ConfigurationError} there is no key.
 */
export function resolveLogin(
  given: GivenLogin,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  loginFile: string = defaultLoginFile(),
): Login {
  const remembered = readLogin(loginFile);
  const address = given.address || environment["ATELIER_ADDRESS"];
  const apiKey = given.apiKey || environment["ATELIER_API_KEY"];
  if (apiKey) {
    return { address: address || remembered?.address || DEFAULT_ADDRESS, apiKey };
  }
  if (remembered && (!address || address === remembered.address)) {
    return remembered;
  }
  throw new ConfigurationError(
    `no API key for ${address || DEFAULT_ADDRESS}: give apiKey, set ATELIER_API_KEY, ` +
      "or run `atelier login`",
  );
}

/**
 * Read `host:port`, `https://host[:port]` or `http://host:port` as a base URL.
 *
 * Without a scheme a loopback address is spoken to in clear text and any other with TLS: a key
 * never crosses a network unprotected unless `http://` asks for it.
 *
 * @throws {@link ConfigurationError} there is no host, or no port where one is needed.
 */
export function baseUrl(address: string): string {
  const [, scheme = "", rest = ""] = /^(?:([a-z]+):\/\/)?(.*?)\/*$/.exec(address) ?? [];
  if (!["", "http", "https"].includes(scheme) || rest === "") {
    throw new ConfigurationError(`'${address}' is no address: use host:port or https://host:port`);
  }
  const [, host = rest, port = ""] = /^(.*):([^\]:]*)$/.exec(rest) ?? [];
  const tls = scheme === "https" || (scheme === "" && !LOOPBACK_HOSTS.has(host));
  if (port === "" && !tls) {
    throw new ConfigurationError(`'${address}' has no port`);
  }
  return `${tls ? "https" : "http"}://${host}:${port || "443"}`;
}

/** Name the file `atelier login` writes. */
export function defaultLoginFile(): string {
  const windows = platform() === "win32";
  const named = process.env[windows ? "APPDATA" : "XDG_CONFIG_HOME"];
  return join(named || (windows ? homedir() : join(homedir(), ".config")), "atelier", "login.json");
}

function readLogin(path: string): Login | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      return undefined;
    }
    throw new ConfigurationError(`${path} cannot be read: ${message}`);
  }
  const content = parsed(text) as { address?: unknown; api_key?: unknown } | null | undefined;
  if (typeof content?.address !== "string" || typeof content.api_key !== "string") {
    throw new ConfigurationError(`${path} is damaged: run \`atelier login\` again`);
  }
  return { address: content.address, apiKey: content.api_key };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
