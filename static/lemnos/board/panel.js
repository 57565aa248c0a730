/* The ticket beside the board: its own address, tabs, and what may be done with it. */

import { $, $$, ago, h, initials, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, refuse, toast } from "./say.js";
import { Replacer } from "./replace.js";
import { ask, direct, Editor, reasoned } from "./acts.js";
import { Graph } from "./graph.js";

const OWN = ["overview", "tasks", "evidence", "timeline"];

export class Panel {
  #store;
  #cards;
  #base;
  #box = $("#panel");
  #number = null;
  #tab = "overview";
  #stamp = 0;
  #timer = 0;
  #replacer = new Replacer();
  #editor = new Editor();
  #graph = null;
  #group = "";

  constructor(store, cards, { base, live, mover }) {
    this.#store = store;
    this.#cards = cards;
    this.#base = base;
    this.live = live;
    this.mover = mover;
    this.#box.addEventListener("click", (event) => this.#clicked(event));
    this.#box.addEventListener("keydown", (event) => this.#arrows(event));
    addEventListener("popstate", () => this.#fromAddress());
    const tab = new URLSearchParams(location.search).get("tab");
    if (tab) this.#tab = tab;
    // Rendered by the server when the address names a ticket.
    const number = this.#numberInAddress();
    if (number !== null) {
      this.#opened(number);
      this.#dress();
      requestAnimationFrame(() => this.#reveal());
    }
  }

  /* Ours and those of other apps, as the server names them. */
  get #tabs() {
    const named = $$("[role=tab]", this.#box).map((tab) => tab.dataset.tab);
    return named.length ? named : OWN;
  }

  get number() {
    return this.#number;
  }

  get card() {
    return this.#number === null ? null : this.#store.byNumber(this.#number);
  }

  #numberInAddress() {
    const match = location.pathname.match(/\/tickets\/(\d+)$/);
    return match ? Number(match[1]) : null;
  }

  #address(number) {
    const path = number === null ? this.#base : `${this.#base}/tickets/${number}`;
    return path + location.search;
  }

  async #fromAddress() {
    this.#cards.filters.read();
    this.#cards.filters.dispatchEvent(new Event("change"));
    const number = this.#numberInAddress();
    if (number === null) this.close({ push: false });
    else await this.open(number, { push: false });
  }

  async open(number, { push = true } = {}) {
    if (push && number !== this.#number) history.pushState({ ticket: number }, "", this.#address(number));
    this.#opened(number);
    this.#box.hidden = false;
    this.#box.setAttribute("aria-busy", "true");
    if (await this.#fetch()) {
      this.#box.scrollTop = 0;
      for (const part of $$(".panel-body", this.#box)) part.scrollTop = 0;
      $("#panel-title", this.#box)?.focus({ preventScroll: true });
    }
    this.#box.removeAttribute("aria-busy");
    this.#reveal();
  }

  #reveal() {
    this.#cards.element(this.card?.id)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #opened(number) {
    this.#number = number;
    this.#cards.open = number;
    this.#cards.draw();
    this.live.view(this.card?.id || null);
    this.#entitle();
  }

  close({ push = true } = {}) {
    if (this.#number === null) return;
    const id = this.card?.id;
    this.#number = null;
    this.#cards.open = null;
    this.#box.hidden = true;
    this.#box.replaceChildren();
    this.live.view(null);
    if (push) history.pushState({}, "", this.#address(null));
    document.title = `${this.#store.workflow.name} · Lemnos`;
    this.#cards.draw();
    (this.#cards.link(id) || $("#board")).focus({ preventScroll: true });
  }

  /* News of its ticket: read it again, at most three times a second. */
  refresh() {
    if (this.#number === null || this.#timer) return;
    this.#timer = setTimeout(async () => {
      this.#timer = 0;
      await this.#fetch();
    }, 300);
  }

  async #fetch() {
    const stamp = ++this.#stamp;
    const number = this.#number;
    try {
      const response = await fetch(`${this.#base}/tickets/${number}?fragment=1`);
      const text = await response.text();
      if (stamp !== this.#stamp || number !== this.#number) return false;
      if (response.status === 404) this.#missing(text);
      else if (!response.ok) throw new Error();
      else this.#show(new DOMParser().parseFromString(text, "text/html").body);
    } catch {
      if (stamp !== this.#stamp) return false;
      if ($("[data-part]", this.#box)) return false; // what is shown stays; the pill says the rest
      this.#missing("The ticket could not be read. It opens when the board is live again.");
    }
    return true;
  }

  #missing(text) {
    this.#box.replaceChildren(
      h("div", { class: "panel-head" }, h("p", { class: "ref" }, `${this.#store.label}-${this.#number}`), h("button", { type: "button", data: { act: "close" } }, "Close")),
      h("div", { class: "panel-body" }, h("p", { class: "nothing" }, text)));
  }

  /* Replace only the parts that changed, so that scroll, focus and open details stay. */
  #show(fresh) {
    const parts = $$("[data-part]", fresh);
    const same = parts.length && parts.every((part) => $(`[data-part=${part.dataset.part}]`, this.#box)) && $("[data-part=head]", this.#box).dataset.ticket === $("[data-part=head]", fresh).dataset.ticket;
    if (!same) this.#box.replaceChildren(...fresh.childNodes);
    else for (const part of parts) this.#replace($(`[data-part=${part.dataset.part}]`, this.#box), part);
    this.#dress();
  }

  #replace(old, part) {
    part.dataset.source = part.innerHTML;
    if (old.dataset.source === part.dataset.source) {
      // Its element stays, but what it carries is news all the same: the version above all.
      for (const { name, value } of part.attributes) if (name.startsWith("data-")) old.setAttribute(name, value);
      return;
    }
    const focus = old.contains(document.activeElement) ? key(document.activeElement) : null;
    const scroll = old.scrollTop;
    const open = $$("details[open]", old).map((details) => details.dataset.key);
    old.replaceWith(part);
    for (const details of $$("details", part)) details.open = open.includes(details.dataset.key);
    part.scrollTop = scroll;
    if (focus) ($$("button, a, [tabindex]", part).find((element) => key(element) === focus) || part).focus({ preventScroll: true });
  }

  /* The part was replaced with what changed in it; the drawing goes on where it was. */
  #drawGraph() {
    const place = $("[data-graph]", this.#box);
    if (!place) this.#graph = null;
    else if (!this.#graph || this.#graph.place !== place) {
      const graph = new Graph(place, { url: () => place.dataset.graph, onOpen: (node) => node.ticket.number !== this.#number && this.open(node.ticket.number), label: this.#store.label, orderOf: (phase) => this.#store.phases.get(phase)?.order ?? 0 });
      this.#graph = { graph, place };
    }
    if (place && this.#tab === "tasks") this.#graph.graph.load();
  }

  #filterTimeline() {
    for (const button of $$("[data-act=timeline]", this.#box)) button.setAttribute("aria-pressed", String(button.dataset.group === this.#group));
    for (const row of $$(".timeline li", this.#box)) row.hidden = Boolean(this.#group) && row.dataset.group !== this.#group;
  }

  /* What other apps know of this ticket, read when it is looked at. */
  async #readFragment(part) {
    const stamp = ++this.#fragment;
    try {
      const response = await fetch(part.dataset.fragment, { headers: { Accept: "text/html" } });
      const text = await response.text();
      if (stamp !== this.#fragment || !part.isConnected) return;
      const body = new DOMParser().parseFromString(response.ok ? text : "", "text/html").body;
      if (!response.ok) part.replaceChildren(h("p", { class: "nothing" }, response.status === 403 ? "You may not see this." : "This could not be read."));
      else if (part.innerHTML !== body.innerHTML) part.replaceChildren(...body.childNodes);
    } catch {
      if (stamp === this.#fragment) part.replaceChildren(h("p", { class: "nothing" }, "The server cannot be reached."));
    }
    this.tick();
  }

  #fragment = 0;

  /* A ticket below what its column shows is known by its panel alone. */
  #learn() {
    const card = $("#panel-card", this.#box);
    if (!card) return;
    const known = this.card;
    this.#store.learn(JSON.parse(card.textContent));
    if (known || !this.card) return;
    this.live.view(this.card.id);
    this.#entitle();
  }

  #entitle() {
    const title = this.card ? ` ${this.card.title}` : "";
    document.title = `${this.#store.label}-${this.#number}${title} · ${this.#store.workflow.name} · Lemnos`;
  }

  #dress() {
    this.#learn();
    for (const part of $$("[data-part]", this.#box)) part.dataset.source ||= part.innerHTML;
    this.showTab(this.#tabs.includes(this.#tab) ? this.#tab : OWN[0], { focus: false, keep: true });
    this.#drawGraph();
    this.#filterTimeline();
    this.#watchers();
    this.tick();
  }

  tick() {
    for (const time of $$("[data-ago]", this.#box)) setText(time, `${ago(time.dateTime)} ago`);
    for (const time of $$("[data-clock]", this.#box)) setText(time, clock(time.dateTime));
    for (const time of $$("[data-until]", this.#box)) {
      const left = Math.ceil((Date.parse(time.dateTime) - Date.now()) / 1000);
      setText(time, left > 0 ? `In ${left} s.` : "Now.");
    }
  }

  showTab(name, { focus = true, keep = false } = {}) {
    if (this.#number === null || !this.#tabs.includes(name)) return;
    this.#tab = name;
    for (const tab of $$("[role=tab]", this.#box)) {
      const here = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      if (here && focus) tab.focus();
    }
    for (const part of $$("[role=tabpanel]", this.#box)) part.hidden = part.id !== `part-${name}`;
    const fragment = $(`#part-${name}[data-fragment]`, this.#box);
    if (fragment) this.#readFragment(fragment);
    if (name === "tasks" && !keep) this.#drawGraph();
    if (keep) return;
    const query = new URLSearchParams(location.search);
    if (name === OWN[0]) query.delete("tab");
    else query.set("tab", name);
    const text = query.toString();
    history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}`);
  }

  tabAt(index) {
    this.showTab(this.#tabs[index]);
  }

  #arrows(event) {
    if (!event.target.matches?.("[role=tab]")) return;
    const count = this.#tabs.length;
    const at = this.#tabs.indexOf(this.#tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.tabAt((to + count) % count);
  }

  /* The neighbour on the board, column by column, of what the filters show. */
  step(by) {
    const ids = this.#cards.shown().flatMap(({ cards }) => cards.map((card) => card.dataset.id));
    const at = ids.indexOf(this.card?.id);
    // One that is not shown stands behind what its column shows.
    const behind = ids.findLastIndex((id) => this.#store.get(id).column === this.card?.column) + 1;
    const to = at !== -1 ? at + by : by > 0 ? behind : behind - 1;
    const next = this.#store.get(ids[to]);
    if (next) this.open(next.number);
    else announce(by > 0 ? "This is the last ticket" : "This is the first ticket");
  }

  presence({ ticket, who }) {
    if (ticket !== this.card?.id) return;
    this.who = who.filter((one) => one.name !== this.#store.me.name);
    this.#watchers();
  }

  #watchers() {
    const place = $("#watchers", this.#box);
    if (!place) return;
    place.replaceChildren(...(this.who || []).map((one) => h("span", { class: `face ${one.kind}`, title: `${one.name} ${one.editing ? "edits this" : "looks at this too"}` }, initials(one.name), h("span", { class: "sr" }, ` ${one.name} is here too`))));
  }

  async #clicked(event) {
    const tab = event.target.closest("[role=tab]");
    if (tab) return this.showTab(tab.dataset.tab);
    const button = event.target.closest("[data-act]");
    if (!button) return undefined;
    const { act } = button.dataset;
    const about = { name: this.#name, ticket: this.#ticket(), version: () => this.#version(), data: button.dataset };
    const asked = reasoned(act, about);
    if (asked) return ask({ ...asked, after: () => this.#afterwards() });
    const done = direct(act, about);
    if (done) return this.#do(button, ...done);
    const acts = {
      close: () => this.close(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      move: () => this.mover.open(this.#id()),
      assign: () => this.assign(),
      retry: () => this.#retry(button),
      replace: () => this.#replaceArchive(button),
      edit: () => this.#edit(),
      timeline: () => {
        this.#group = button.dataset.group;
        this.#filterTimeline();
      },
    };
    return acts[act]?.();
  }

  #edit() {
    const facts = $("#panel-facts", this.#box);
    if (!facts) return;
    this.live.view(this.#id(), { editing: true });
    const id = this.#id();
    this.#editor.open(facts, { name: this.#name, url: this.#ticket(), version: () => this.#version(), after: () => this.#afterwards(), ended: () => this.live.view(id) });
  }

  #id() {
    return $("[data-part=head]", this.#box).dataset.ticket;
  }

  /* The version that is shown: read when something is sent, so that news in between count. */
  #version() {
    return Number($("[data-part=head]", this.#box).dataset.version);
  }

  #ticket() {
    return `/api/v1/tickets/${this.#id()}`;
  }

  get #name() {
    return `${this.#store.label}-${this.#number}`;
  }

  async #do(button, done, work) {
    if (button) button.disabled = true;
    try {
      await work();
      if (done) toast(done);
      announce(done);
    } catch (refusal) {
      refuse("", refusal);
    }
    if (button?.isConnected) button.disabled = false;
    await this.#fetch();
  }

  async assign(id = null) {
    const card = id ? this.#store.get(id) : this.card;
    if (!card || !this.#store.me.write) return;
    const mine = card.assignee?.id === this.#store.me.id;
    // The panel may have been read after the card's last news.
    const version = Math.max(card.v, card.id === this.card?.id ? this.#version() : 0);
    try {
      await call("PATCH", `/api/v1/tickets/${card.id}`, { assignee: mine ? null : this.#store.me.id }, { version });
      toast(mine ? `${this.#store.label}-${card.number} is nobody's again.` : `${this.#store.label}-${card.number} is yours.`);
    } catch (refusal) {
      refuse("", refusal);
    }
    this.refresh();
  }

  async #retry(button) {
    const column = this.#store.phases.get(button.dataset.phase)?.column;
    const full = this.#store.columns.get(column);
    // Out of Blocked a full column takes the ticket in its queue.
    const queue = Boolean(full?.wip_limit && full.admitted >= full.wip_limit);
    await this.#do(button, `${this.#name} goes on.`, () => call("POST", `${this.#ticket()}/transition`, { to_phase: button.dataset.phase, reason: "retried from the board", ...(queue ? { queue } : {}) }));
  }

  #replaceArchive(button) {
    this.#replacer.open({
      name: this.#name,
      url: this.#ticket(),
      file: button.dataset.file,
      version: () => this.#version(),
      after: () => this.#afterwards(),
    });
  }

  /* The button that was pressed is gone from the panel: its title has the focus then. */
  async #afterwards() {
    await this.#fetch();
    if (document.activeElement === document.body) $("#panel-title", this.#box)?.focus({ preventScroll: true });
  }
}

const key = (element) => element.id || [element.dataset.act, element.dataset.artifact, element.dataset.task].join(" ");

function clock(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }) : at.toLocaleDateString([], { day: "numeric", month: "short" });
}
