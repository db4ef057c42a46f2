// The user's key: in memory or, if the user chooses so, in sessionStorage until the tab is closed. Never elsewhere.

const PLACE = "adakron.key";

let key = stored();

function stored() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // the browser may forbid access
  }
}

export const hasKey = () => key !== "";

export const isKept = () => stored() !== "";

/** The Authorization header, or no header without a key. */
export const authorization = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** Use the key `text` ("" for none); with `keep`, until the tab is closed. */
export function setKey(text, keep) {
  key = text;
  try {
    if (text && keep) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // the key stays in memory only
  }
}
