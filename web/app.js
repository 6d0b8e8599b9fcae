// The page's base ends in a slash: https://…/v1/. Calls of the API are relative to it.
export const base = new URL(".", location.href);
