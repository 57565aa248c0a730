/* Connect an agent: a token of its own and the calls it begins with, to copy. */

import { $, h, setText } from "./dom.js";
import { call } from "./api.js";
import { announce } from "./say.js";

const SCOPES = ["tickets:read", "tickets:write", "tasks:work", "agents:read", "memory:read", "memory:write", "tools:read", "tools:execute", "locks:read", "locks:acquire", "events:read", "tokens:self"];

export class Connector {
  #dialog = $("#connect-dialog");
  #store;
  #people;

  constructor(store, people) {
    this.#store = store;
    this.#people = people;
    if (!this.#dialog) return;
    $("form", this.#dialog).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    this.#dialog.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-copy]");
      if (button) this.#copy(button);
    });
    // A token is shown once: it leaves the page with the dialog.
    this.#dialog.addEventListener("close", () => setText($("#connect-code"), ""));
  }

  get possible() {
    return Boolean(this.#dialog);
  }

  /* No agent of this team has a token: nobody from outside can take work. */
  get missing() {
    return this.possible && !this.#people.some((one) => one.kind === "agent" && one.connected);
  }

  open() {
    if (!this.#dialog || this.#dialog.open) return;
    const { me } = this.#store;
    // Tokens of others are an administrator's to make.
    const agents = me.tokens ? this.#people.filter((one) => one.kind === "agent") : [];
    $("#connect-user").replaceChildren(...agents.map((one) => h("option", { value: one.id }, `${one.name}, agent`)), h("option", { value: me.id }, `${me.name}, you yourself (to try it)`));
    setText($("#connect-error"), "");
    $("#connect-made").hidden = true;
    $("#connect-ask").hidden = false;
    $("#connect-submit").hidden = false;
    this.#dialog.showModal();
    $("#connect-user").focus();
  }

  async #make() {
    const user = $("#connect-user").value;
    const name = this.#people.find((one) => one.id === user)?.name || this.#store.me.name;
    const body = { name: `${name}, from the board`, scopes: SCOPES };
    if (user !== this.#store.me.id) body.user = user;
    $("#connect-submit").disabled = true;
    setText($("#connect-error"), "");
    try {
      const { token } = await call("POST", "/api/v1/tokens", body);
      this.#show(token);
    } catch (refusal) {
      setText($("#connect-error"), `${refusal.message} ${refusal.remedy}`.trim());
    }
    $("#connect-submit").disabled = false;
  }

  #show(token) {
    setText($("#connect-code"), [
      `export AGENT_URL=${location.origin}`,
      `export AGENT_TOKEN=${token}`,
      "",
      "# take a task; an empty list means there is none now",
      'curl -s $AGENT_URL/api/v1/tasks/claim -H "Authorization: Bearer $AGENT_TOKEN" \\',
      '  -H "Content-Type: application/json" -d \'{"capabilities": ["analysis", "design", "code", "test", "deploy"]}\'',
      "",
      "# what else there is, written for language models",
      "curl -s $AGENT_URL/llms.txt",
      "",
    ].join("\n"));
    $("#connect-ask").hidden = true;
    $("#connect-submit").hidden = true;
    $("#connect-made").hidden = false;
    $("[data-copy]", this.#dialog).focus();
    announce("The token is made. It is shown only now.");
  }

  async #copy(button) {
    const text = $("#connect-code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      setText(button, "Copied");
    } catch {
      // Without the right to the clipboard the text is chosen, for Ctrl+C.
      getSelection().selectAllChildren($("#connect-code"));
      setText(button, "Chosen: press Ctrl C");
    }
  }
}
