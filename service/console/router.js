// Shows the view that the fragment of the address names. The address never contains texts or keys.

import { replace, say } from "./dom.js";

/** Show the view `views[name](...rest of the path)` in `place`, now and whenever the address changes. */
export function route(place, views, first) {
  let current = null;

  function show(moveFocus) {
    const [name, ...rest] = location.hash.slice(1).split("/").map(decoded);
    const make = Object.hasOwn(views, name) ? views[name] : views[first];
    current?.leave?.();
    current = make(...rest);
    replace(place, current.element);
    document.title = `${current.title} · AdaKron console`;
    for (const link of document.querySelectorAll(".bar nav a")) {
      if (link.hash.slice(1) === (Object.hasOwn(views, name) ? name : first)) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!moveFocus) return;
    window.scrollTo(0, 0);
    place.querySelector("h1")?.focus({ preventScroll: true });
    say(current.title);
  }

  window.addEventListener("hashchange", () => show(true));
  show(false);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
