// The key of whoever uses the page: in memory, or by choice in sessionStorage, which ends with the tab. Nowhere else.

const PLACE = "adakron.key";

let key = stored();

function stored() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // a browser may forbid it
  }
}

export const hasKey = () => key !== "";

export const isKept = () => stored() !== "";

/** The header that carries the key; none without one. */
export const authorization = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** Use `text` from now on ("": none); `keep` it until the tab is closed. */
export function setKey(text, keep) {
  key = text;
  try {
    if (text && keep) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // then it is kept in memory
  }
}
