/* The board page: what was sent with it is drawn, then it follows the socket. */

import { $, $$, h, icon, narrow, setText } from "./dom.js";
import { Store, standing } from "./store.js";
import { Cards, isOpen } from "./cards.js";
import { Filters } from "./filters.js";
import { Live } from "./live.js";
import { Mover } from "./move.js";
import { Drag } from "./drag.js";
import { Creator } from "./create.js";
import { Panel } from "./panel.js";
import { Keys } from "./keys.js";
import { Selection } from "./select.js";
import { Views, density } from "./views.js";
import { Table } from "./table.js";
import { Graph } from "./graph.js";
import { Palette } from "./palette.js";
import { Connector } from "./connect.js";
import { call } from "./api.js";
import { announce, refuse } from "./say.js";

const app = $("#app");
const base = app.dataset.base;
const data = JSON.parse($("#board-data").textContent);
const store = new Store(data);
store.start = data.start;
store.initial = data.initial;
const filters = new Filters(store);
const live = new Live(store, app.dataset.workflow);
let mover = null;
let selection = null;
const cards = new Cards(store, { base, filters, onMove: (id) => mover.open(id), onPick: (id) => selection.toggle(id) });
mover = new Mover(store, cards);
const drag = new Drag(store, mover);
const panel = new Panel(store, cards, { base, live, mover });
const creator = new Creator(store, { onCreated: created });
const help = () => $("#help-dialog").showModal();
selection = new Selection(store, cards);
const views = new Views();
const table = new Table(store, { filters, base });
const graph = new Graph($("#graph"), {
  url: () => `/api/v1/board/graph?workflow=${encodeURIComponent(app.dataset.workflow)}`,
  onOpen: (node) => panel.open(node.ticket.number),
  label: store.label,
  orderOf: (phase) => store.phases.get(phase)?.order ?? 0,
  keep: ({ ticket }) => !store.get(ticket.id) || filters.match(store.get(ticket.id)),
});
const palette = new Palette(store, { commands, open: (card) => panel.open(card.number) });
const connector = new Connector(store, data.people);
new Keys({ cards, panel, mover, creator, help, selection, views, palette });

/* Drawing: at most once per frame, whatever came in between. */

let due = false;
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (views.now === "board") cards.draw();
    table.draw();
    filters.show();
    summary();
    stopped();
    columnTabs();
    empty();
  });
}

/* The graph is asked anew when something happened that it may show, not for every frame. */
let graphTimer = 0;
function redrawGraph() {
  if (views.now !== "graph" || graphTimer) return;
  graphTimer = setTimeout(() => {
    graphTimer = 0;
    graph.load();
  }, 1_000);
}
function viewChosen() {
  if (views.now === "graph") graph.load({ fit: true });
  draw();
}
views.addEventListener("change", () => {
  viewChosen();
  announce(`${views.now[0].toUpperCase()}${views.now.slice(1)} view`);
});
selection.addEventListener("change", draw);

store.addEventListener("change", ({ detail }) => {
  draw();
  redrawGraph();
  if (awaited && store.byNumber(awaited)) focusNew();
  if (detail.all || detail.touched?.has(panel.card?.id)) panel.refresh();
});
filters.addEventListener("change", () => {
  draw();
  graph.draw();
  if (filters.active) announceMatches();
});

let matchTimer = 0;
function announceMatches() {
  clearTimeout(matchTimer);
  matchTimer = setTimeout(() => {
    const count = store.all().filter((card) => filters.match(card)).length;
    announce(count === 1 ? "1 ticket matches" : `${count} tickets match`);
  }, 600);
}

function summary() {
  const all = store.all();
  const open = all.filter(isOpen).length;
  const agents = new Set(all.filter((card) => card.holder?.kind === "agent").map((card) => card.holder.id)).size;
  const blocked = all.filter((card) => card.blocked_reason && isOpen(card)).length;
  const parts = [`${open} open`];
  if (agents) parts.push(agents === 1 ? "1 agent working" : `${agents} agents working`);
  if (blocked) parts.push(`${blocked} blocked`);
  setText($("#summary"), parts.join(" · "));
  const needs = all.filter((card) => store.needsPerson(card)).length;
  $("#needs").hidden = !needs && filters.values.state !== "needs";
  setText($("#needs"), `Needs you · ${needs}`);
  // Work waits, and nobody from outside can take it.
  const notice = $("#no-agent");
  if (notice) notice.hidden = !connector.missing || agents > 0 || !all.some((card) => isOpen(card) && !card.holder && card.tasks.total > card.tasks.done) || Boolean($("input[name=source]"));
}
$("#needs").addEventListener("click", () => {
  const on = filters.values.state !== "needs";
  filters.set("state", on ? "needs" : "");
  const where = on && firstWith((card) => store.needsPerson(card));
  // A narrow screen goes where they are.
  if (where && !store.all().some((card) => card.column === shown && store.needsPerson(card))) show(where);
});

/* A kill switch is told over the board, with who set it and why. */
function stopped() {
  const stop = store.stopped;
  const box = $("#stopped");
  box.hidden = !stop;
  if (!stop) return;
  setText($("strong", box), `New work is stopped${stop.everywhere ? " in every team" : ""}.`);
  setText($("[data-stopped]", box), `${stop.by}: ${stop.reason}`);
}

/* A narrow screen shows one column; tabs choose it. */

let shown = null;
function columnTabs() {
  const keys = [...store.columns.keys()];
  const first = !shown || !store.columns.has(shown);
  if (first) shown = panel.card?.column || firstWith((card) => store.needsPerson(card)) || firstWith(isOpen) || firstWith(() => true) || data.start || keys[0];
  const list = $("#column-tabs");
  if (!list.children.length) {
    list.append(...keys.map((key) => h("button", { type: "button", role: "tab", id: `tabcol-${key}`, data: { key }, on: { click: () => show(key) } })));
    list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      show(keys[(keys.indexOf(shown) + by + keys.length) % keys.length]);
      $(`#tabcol-${shown}`).focus();
    });
  }
  for (const tab of list.children) {
    const column = store.columns.get(tab.dataset.key);
    const here = tab.dataset.key === shown;
    tab.setAttribute("aria-selected", String(here));
    tab.tabIndex = here ? 0 : -1;
    setText(tab, `${column.name} ${column.wip_limit ? `${column.admitted}/${column.wip_limit}` : standing(column)}`);
  }
  for (const column of $$(".column")) column.toggleAttribute("data-shown", column.dataset.column === shown);
  if (first) reveal();
}
/* The first column, from the left, that holds such a card. */
function firstWith(test) {
  const held = new Set(store.all().filter(test).map((card) => card.column));
  return [...store.columns.keys()].find((key) => held.has(key));
}
function reveal() {
  $(`#tabcol-${shown}`).scrollIntoView({ block: "nearest", inline: "center" });
}
function show(key) {
  shown = key;
  columnTabs();
  reveal();
}

/* A finger that swipes sideways over the cards goes to the next column. */
let touch = null;
$("#board").addEventListener("touchstart", ({ touches }) => (touch = touches.length === 1 ? touches[0] : null), { passive: true });
$("#board").addEventListener("touchend", ({ changedTouches }) => {
  if (!touch || !narrow()) return;
  const dx = changedTouches[0].clientX - touch.clientX;
  const dy = changedTouches[0].clientY - touch.clientY;
  touch = null;
  if (Math.abs(dx) < 60 || Math.abs(dx) < 2 * Math.abs(dy)) return;
  const keys = [...store.columns.keys()];
  const to = keys[keys.indexOf(shown) + (dx < 0 ? 1 : -1)];
  if (to) show(to);
}, { passive: true });

/* Empty pages say what to do next. */

function empty() {
  const box = $("#empty");
  const all = store.all();
  const none = !all.length;
  const noMatch = !none && filters.active && !all.some((card) => filters.match(card));
  box.hidden = !none && !noMatch;
  const state = none ? "none" : noMatch ? "match" : "";
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  const actions = h("div", { class: "actions" });
  if (noMatch) {
    actions.append(h("button", { type: "button", class: "primary", on: { click: () => filters.clear() } }, "Clear filters"));
    box.replaceChildren(h("h2", {}, "No ticket matches"), h("p", { class: "muted" }, "Nothing on this board fits the search and the filters."), actions);
  } else if (none) {
    if (creator.possible) {
      actions.append(h("button", { type: "button", class: "primary", on: { click: () => creator.open() } }, "New ticket"));
      const demo = $("input[name=source]") ? app.dataset.workflow : $("#flows a[href$='/repo_checkup']") && "repo_checkup";
      if (demo) actions.append(h("button", { type: "button", on: { click: ({ currentTarget }) => loadDemo(currentTarget, demo) } }, "Load demo"));
      if (connector.missing) actions.append(h("button", { type: "button", on: { click: () => connector.open() } }, "Connect an agent…"));
    }
    const words = creator.possible ? "A ticket is one piece of work. Make one, and agents take it from column to column while you watch." : "When somebody of your team makes a ticket, it appears here by itself.";
    box.replaceChildren(h("h2", {}, "No ticket yet"), h("p", { class: "muted" }, words), actions);
  }
}

/* A checkup of Lemnos's own source, done by the built-in agents while one watches. */
async function loadDemo(button, workflow) {
  button.disabled = true;
  const body = { workflow, title: "Check up on Lemnos itself", description: "The built-in agents take stock of Lemnos's own source, run its self-check tests and its linter, and write a report.", labels: ["demo"], context: { source: { kind: "self" } } };
  try {
    const ticket = await call("POST", "/api/v1/tickets", body, { key: demoKey });
    if (workflow === app.dataset.workflow) created(ticket);
    else location.assign($("#flows a[href$='/repo_checkup']").href);
  } catch (refusal) {
    refuse("", refusal);
    button.disabled = false;
  }
}
const demoKey = crypto.randomUUID();

/* A new ticket gets the focus as soon as its card is there. */

let awaited = null;
function created(ticket) {
  awaited = ticket.number;
  if (filters.active) filters.clear();
  if (store.byNumber(awaited)) focusNew();
}
function focusNew() {
  const card = store.byNumber(awaited);
  awaited = null;
  show(card.column);
  setTimeout(() => {
    const link = cards.link(card.id);
    if (!link || $("dialog[open]")) return;
    link.focus({ preventScroll: true });
    link.closest(".card").scrollIntoView({ block: "nearest", inline: "nearest" });
  }, 60);
}

/* What Ctrl+K offers; tickets it finds by itself. */
function commands() {
  const list = [];
  const add = (words, hint, act) => list.push({ words, hint, act });
  if (creator.possible) add("New ticket", "C", () => creator.open());
  for (const name of ["board", "table", "graph"]) if (views.now !== name) add(`Show the ${name}`, `G ${name[0].toUpperCase()}`, () => views.choose(name));
  if (panel.card && store.me.write && isOpen(panel.card)) {
    add(`Move ${store.label}-${panel.number}…`, "M", () => mover.open(panel.card.id));
    add(`Assign ${store.label}-${panel.number} to me, or to nobody`, "A", () => panel.assign());
  }
  if (selection.size) add("Move the chosen tickets…", "M", () => selection.openMove());
  add(filters.values.state === "needs" ? "Show all tickets" : "Show what needs you", "", () => filters.set("state", filters.values.state === "needs" ? "" : "needs"));
  if (filters.active) add("Clear filters", "", () => filters.clear());
  add("Search and filter", "/", () => $("#q").focus());
  for (const link of $$("#flows a:not([aria-current])")) add(`Go to ${link.textContent}`, "workflow", () => location.assign(link.href));
  for (const choice of ["light", "dark", "system"]) if (lemnosTheme.chosen() !== choice) add(`Theme: ${choice}`, "", () => lemnosTheme.choose(choice));
  const other = density.now === "compact" ? "comfortable" : "compact";
  add(`Density: ${other}`, "", () => density.choose(other));
  if (connector.possible) add("Connect an agent…", "", () => connector.open());
  add("Keyboard shortcuts", "?", help);
  return list;
}

/* Opening: a plain click stays on the page, everything else is a link as any other. */

document.addEventListener("click", (event) => {
  const link = event.target.closest(".card-link, .row-link, .panel-head .ref a");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const card = store.get(link.closest(".card, tr")?.dataset.id);
  if (card) panel.open(card.number);
});
for (const dialog of $$("dialog")) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
}
$("#new-ticket")?.addEventListener("click", () => creator.open());
$("#open-help").addEventListener("click", () => {
  $("#you").hidePopover();
  help();
});

/* Menus open under their button. */
for (const menu of $$("[popover]")) {
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    const button = $(`[popovertarget=${menu.id}]`).getBoundingClientRect();
    requestAnimationFrame(() => {
      const width = menu.offsetWidth;
      menu.style.left = `${Math.max(8, Math.min(button.left, innerWidth - width - 8))}px`;
      menu.style.top = `${button.bottom + 4}px`;
    });
  });
}

/* Theme: the system's, or the chosen one. */
function theme() {
  for (const button of $$("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === lemnosTheme.chosen()));
}
for (const button of $$("[data-theme-choice]")) button.addEventListener("click", () => lemnosTheme.choose(button.dataset.themeChoice));
addEventListener("lemnos-theme", theme);
theme();
for (const button of $$("[data-density-choice]")) button.addEventListener("click", () => density.choose(button.dataset.densityChoice));
density.apply();
$("#open-connect")?.addEventListener("click", () => {
  $("#you").hidePopover();
  connector.open();
});
$("#no-agent")?.addEventListener("click", () => connector.open());
$("#open-palette").addEventListener("click", () => {
  $("#you").hidePopover();
  palette.open();
});

/* How the line stands. */
const STATES = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…", offline: "Offline", refused: "No access" };
live.addEventListener("state", ({ detail }) => {
  const pill = $("#pill");
  if (pill.dataset.state === detail) return;
  pill.dataset.state = detail;
  setText($("#pill-text"), STATES[detail]);
  pill.title = { live: "Changes appear by themselves", reconnecting: "What you see may be old; nothing is lost", offline: "Your machine is offline", refused: "You may not see this board any more" }[detail] || "";
});
live.addEventListener("presence", ({ detail }) => {
  panel.presence(detail);
  const others = detail.who.filter((one) => one.name !== store.me.name).map((one) => one.name);
  if (others.length) cards.watching.set(detail.ticket, others);
  else cards.watching.delete(detail.ticket);
  draw();
});
addEventListener("popstate", () => views.read());

setInterval(() => {
  cards.tick();
  panel.tick();
}, 1000);
viewChosen();
live.connect();
// For whoever looks with the browser's console, and for tests of a broken line.
window.lemnos = { store, live, drag, icon };
