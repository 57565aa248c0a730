/* Board, table or graph of the same tickets: one at a time, by button, key and address. */

import { $, $$ } from "./dom.js";

export const VIEWS = ["board", "table", "graph"];

export class Views extends EventTarget {
  constructor() {
    super();
    for (const button of $$(".views button")) button.addEventListener("click", () => this.choose(button.dataset.view));
    this.read();
  }

  read() {
    const asked = new URLSearchParams(location.search).get("view");
    this.#show(VIEWS.includes(asked) ? asked : "board");
  }

  choose(name) {
    if (!VIEWS.includes(name) || name === this.now) return;
    const query = new URLSearchParams(location.search);
    if (name === "board") query.delete("view");
    else query.set("view", name);
    const text = query.toString();
    history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}`);
    this.#show(name);
  }

  #show(name) {
    if (this.now === name) return;
    this.now = name;
    $("#app").dataset.view = name;
    for (const button of $$(".views button")) button.setAttribute("aria-pressed", String(button.dataset.view === name));
    for (const view of VIEWS) $(`#${view}`).hidden = view !== name;
    this.dispatchEvent(new Event("change"));
  }
}

/* How much a card shows: kept on this machine, as the theme is. */
export const density = {
  KEY: "lemnos.density",
  get now() {
    return localStorage.getItem(this.KEY) === "compact" ? "compact" : "comfortable";
  },
  choose(name) {
    localStorage.setItem(this.KEY, name);
    this.apply();
  },
  apply() {
    $("#app").dataset.density = this.now;
    for (const button of $$("[data-density-choice]")) button.setAttribute("aria-pressed", String(button.dataset.densityChoice === this.now));
  },
};
