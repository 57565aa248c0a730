/* What the board tells a person: a line for screen readers, a toast for everybody. */

import { $, h, icon } from "./dom.js";

export function announce(text) {
  const region = $("#said");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

export function toast(text, { tone = "ok", more = "", seconds = tone === "ok" ? 5 : 12 } = {}) {
  const box = h("div", { class: "toast", data: { tone }, role: tone === "bad" ? "alert" : "status" },
    icon(tone === "bad" ? "warn" : "check"),
    h("p", {}, text),
    h("button", { type: "button", class: "square", "aria-label": "Dismiss", on: { click: () => box.remove() } }, icon("close")),
    more ? h("p", { class: "muted" }, more) : "");
  const stack = $("#toasts");
  while (stack.children.length > 2) stack.firstChild.remove();
  stack.append(box);
  let timer = setTimeout(() => box.remove(), seconds * 1000);
  // Whoever reads it keeps it.
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("pointerleave", () => (timer = setTimeout(() => box.remove(), 4000)));
}

export function refuse(what, refusal) {
  toast(`${what} ${refusal.message}`.trim(), { tone: "bad", more: refusal.remedy });
}
