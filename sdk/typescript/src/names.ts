/** Resource names from what people type: an id where the rest is clear, or the whole name. */

/** In a name it stands for the tenant of the key. */
export const OWN_TENANT = "-";
/** In a name it stands for everything of its kind. */
export const ALL = "-";

/** Write `tenants/{tenant}`. */
export function tenantName(tenant: string = OWN_TENANT): string {
  return tenant.startsWith("tenants/") ? tenant : `tenants/${tenant}`;
}

/** Write `tenants/{tenant}/{collection}/{id}`; a whole name is left as it is. */
export function childName(collection: string, nameOrId: string, tenant: string): string {
  return nameOrId.includes("/") ? nameOrId : `${tenantName(tenant)}/${collection}/${nameOrId}`;
}

/** Write `{collection}/{id}`; empty stays empty, a whole name is left as it is. */
export function topName(collection: string, nameOrId: string): string {
  return nameOrId === "" || nameOrId.includes("/") ? nameOrId : `${collection}/${nameOrId}`;
}

/** Take the last id of a name: what people call the thing. */
export function lastId(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}
