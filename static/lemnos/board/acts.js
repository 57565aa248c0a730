/* What one may do with a ticket and its tasks from the panel; each asks the REST API. */

import { $, $$, h, setText } from "./dom.js";
import { call } from "./api.js";
import { announce, toast } from "./say.js";

/* act → what the dialog says and what is called with the reason. `least`: characters wanted. */
const REASONED = {
  cancel: ({ name, ticket }) => ({ title: `Cancel ${name}`, text: "Its open tasks are called off. Whoever works on one is asked to stop.", submit: "Cancel the ticket", work: (reason) => call("POST", `${ticket}/cancel`, { reason }) }),
  fail: ({ name, ticket }) => ({ title: `Give up ${name}`, text: "It ends as failed, its open tasks are called off. It can be reopened.", submit: "Give it up", work: (reason) => call("POST", `${ticket}/fail`, { reason }) }),
  reopen: ({ name, ticket, version }) => ({ title: `Reopen ${name}`, text: "It goes on where it was, with the tasks that were called off with it.", submit: "Reopen the ticket", work: (reason) => call("POST", `${ticket}/reopen`, { reason }, { version: version() }) }),
  approve: ({ name, ticket }) => ({ title: `Approve ${name}`, text: "Its work may begin: agents take its tasks from now on.", submit: "Approve", optional: true, work: (reason) => call("POST", `${ticket}/approve`, reason ? { reason } : {}) }),
  reject: ({ name, ticket }) => ({ title: `Reject ${name}`, text: "Nothing of it is done. Whoever opened it reads your reason, and may ask again.", submit: "Reject", work: (reason) => call("POST", `${ticket}/reject`, { reason }) }),
  resubmit: ({ name, ticket }) => ({ title: `Ask again for ${name}`, text: "Somebody else decides it, from now on.", submit: "Ask again", optional: true, work: (reason) => call("POST", `${ticket}/resubmit`, reason ? { reason } : {}) }),
  "retry-task": ({ data }) => ({ title: `Retry “${data.title}”`, text: "The task is put up again, its counters at zero.", submit: "Retry", work: (reason) => call("POST", `/api/v1/tasks/${data.task}/retry`, { reason }) }),
  stop: ({ data }) => ({ title: `Stop “${data.title}”`, text: "Whoever works on it hears it with the next sign of life and has ten seconds to end. Nobody takes it again until it is retried.", submit: "Stop the task", work: (reason) => call("POST", `/api/v1/tasks/${data.task}/cancel`, { reason }) }),
  "verdict-no": ({ data }) => ({ title: "Send it back", text: "Whoever did it has it again first and reads what you write.", label: "What is to be done", submit: "Send back", work: (feedback) => call("POST", `/api/v1/tasks/${data.task}/reviews/${data.iteration}/verdict`, { passed: false, feedback }) }),
  "decide-completed": ({ data }) => ({ title: "Accept it as it is", text: "Its reviews refused it as often as the phase allows; you decide.", submit: "Accept", work: (reason) => call("POST", `/api/v1/tasks/${data.task}/decide`, { decision: "completed", reason }) }),
  "decide-needs_work": ({ data }) => ({ title: "One more round", text: "Whoever did it has it again, and one review follows.", submit: "Send back", work: (reason) => call("POST", `/api/v1/tasks/${data.task}/decide`, { decision: "needs_work", reason }) }),
  "decide-failed": ({ data }) => ({ title: "Fail it", text: "What waits for this task is held back.", submit: "Fail it", work: (reason) => call("POST", `/api/v1/tasks/${data.task}/decide`, { decision: "failed", reason }) }),
  "reject-evidence": ({ ticket, data }) => ({ title: "Reject this evidence", text: "It counts for no gate until somebody confirms it. Your name and reason stand beside it.", label: "What is wrong with it", submit: "Reject it", work: (note) => call("POST", `${ticket}/artifacts/${data.artifact}/verify`, { verdict: "reject", note }) }),
  "answer-yes": ({ ticket, data }) => ({ title: "Answer yes", text: "Your name stands beside the answer.", label: "Note", submit: "Yes", optional: true, work: (note) => call("POST", `${ticket}/artifacts/${data.artifact}/verify`, { verdict: "confirm", ...(note ? { note } : {}) }) }),
  "answer-no": ({ ticket, data }) => ({ title: "Answer no", text: "The gate stays shut until somebody answers otherwise.", label: "Why not", submit: "No", work: (note) => call("POST", `${ticket}/artifacts/${data.artifact}/verify`, { verdict: "reject", note }) }),
  "result-yes": ({ data, ticket }) => ({ title: "It is the answer", text: "Where the workflow says so, all other work on this ticket stops and it is done.", submit: "Accept the result", optional: true, work: (reason) => call("POST", `${ticket}/results/${data.result}/decide`, { verdict: "validated", ...(reason ? { reason } : {}) }) }),
  "result-no": ({ data, ticket }) => ({ title: "It is not the answer", text: "Work goes on.", submit: "Refuse the result", work: (reason) => call("POST", `${ticket}/results/${data.result}/decide`, { verdict: "rejected", reason }) }),
};

/* act → sentence told afterwards, call */
const DIRECT = {
  on: ({ ticket, data, version }) => ["It moved on.", () => call("POST", `${ticket}/transition`, { to_phase: data.phase }, { version: version() })],
  validate: ({ ticket }) => ["The gate was asked.", () => call("POST", `${ticket}/validate-gate`, {})],
  confirm: ({ ticket, data }) => ["Confirmed, with your name.", () => call("POST", `${ticket}/artifacts/${data.artifact}/verify`, { verdict: "confirm" })],
  review: ({ data }) => ["It is yours to review for ten minutes.", () => call("POST", `/api/v1/tasks/${data.task}/reviews`, {})],
  "verdict-yes": ({ data }) => ["Accepted, with your name.", () => call("POST", `/api/v1/tasks/${data.task}/reviews/${data.iteration}/verdict`, { passed: true })],
};

export const reasoned = (act, about) => REASONED[act]?.(about);
export const direct = (act, about) => DIRECT[act]?.(about);

/* A dialog that asks for a reason before it does something that hurts. */
export function ask({ title, text, submit, work, after, label = "Reason", optional = false }) {
  const dialog = $("#reason-dialog");
  const form = $("form", dialog);
  setText($("#reason-title"), title);
  setText($("#reason-text"), text);
  setText($("#reason-submit"), submit);
  setText($("#reason-label"), optional ? `${label}, if you like` : label);
  setText($("#reason-error"), "");
  const field = $("#reason");
  const least = optional ? 0 : field.minLength;
  field.value = "";
  field.removeAttribute("aria-invalid");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const said = field.value.trim();
    const short = said.length < least;
    field.setAttribute("aria-invalid", String(short));
    setText($("#reason-error"), short ? `Give a reason of at least ${least} characters.` : "");
    if (short) return field.focus();
    $("#reason-submit").disabled = true;
    try {
      await work(said);
      dialog.close();
      await after();
    } catch (refusal) {
      // Told once the newest is there: the second try is meant for that.
      await after();
      setText($("#reason-error"), `${refusal.message} ${refusal.remedy}`.trim());
    }
    $("#reason-submit").disabled = false;
    return undefined;
  };
  dialog.showModal();
  field.focus();
}

/* The dialog "Edit": only what was changed is sent, under the version that was read. */
export class Editor {
  #dialog = $("#edit-dialog");
  #form = $("#edit-form");
  #facts = null;
  #ticket = null;

  constructor() {
    if (!this.#dialog) return;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.#dialog.addEventListener("close", () => this.#ticket?.ended());
  }

  /* `facts` is the panel's hidden element, `ticket` {name, url, version, after, ended}. */
  open(facts, ticket) {
    if (!this.#dialog || this.#dialog.open) return;
    this.#facts = { ...facts.dataset };
    this.#ticket = ticket;
    setText($("#edit-title"), `Edit ${ticket.name}`);
    const { elements } = this.#form;
    for (const name of ["title", "description", "priority", "assignee", "labels"]) elements[name].value = this.#facts[name] || "";
    if (elements.assignee.value !== (this.#facts.assignee || "")) elements.assignee.append(h("option", { value: this.#facts.assignee, selected: true }, "who it is assigned to now"));
    elements.deadline.value = local(this.#facts.deadline);
    this.#errors();
    this.#dialog.showModal();
    elements.title.focus();
  }

  #changes() {
    const { elements } = this.#form;
    const changes = {};
    const title = elements.title.value.trim();
    if (title !== this.#facts.title) changes.title = title;
    if (elements.description.value !== (this.#facts.description || "").replaceAll("\r\n", "\n")) changes.description = elements.description.value;
    if (elements.priority.value !== this.#facts.priority) changes.priority = elements.priority.value;
    if (elements.assignee.value !== (this.#facts.assignee || "")) changes.assignee = elements.assignee.value || null;
    const labels = elements.labels.value.split(",").map((label) => label.trim()).filter(Boolean);
    if (labels.join(", ") !== (this.#facts.labels || "")) changes.labels = labels;
    if (elements.deadline.value !== local(this.#facts.deadline)) changes.deadline = elements.deadline.value ? new Date(elements.deadline.value).toISOString() : null;
    return changes;
  }

  async #save() {
    this.#errors();
    const changes = this.#changes();
    if (!Object.keys(changes).length) return this.#dialog.close();
    if (changes.title === "") {
      this.#error("title", "Give it a title.");
      return this.#form.elements.title.focus();
    }
    $("#edit-submit").disabled = true;
    try {
      await call("PATCH", this.#ticket.url, changes, { version: this.#ticket.version() });
      this.#dialog.close();
      toast("Saved.");
      announce("Saved");
      await this.#ticket.after();
    } catch (refusal) {
      if (refusal.isStale) await this.#ticket.after();
      this.#refused(refusal);
    }
    $("#edit-submit").disabled = false;
    return undefined;
  }

  #refused(refusal) {
    let told = false;
    for (const [path, text] of Object.entries(refusal.fields)) {
      const name = path.split(/[.[]/)[0];
      if (!$(`[data-error="${name}"]`, this.#form)) continue;
      this.#error(name, text);
      if (!told) this.#form.elements[name].focus();
      told = true;
    }
    if (!told) this.#error("", `${refusal.message} ${refusal.remedy}`.trim());
  }

  #error(name, text) {
    setText($(`[data-error="${name}"]`, this.#form), text);
    const field = name && this.#form.elements[name];
    if (field && text) field.setAttribute("aria-invalid", "true");
  }

  #errors() {
    for (const place of $$("[data-error]", this.#form)) setText(place, "");
    for (const field of $$("[aria-invalid]", this.#form)) field.removeAttribute("aria-invalid");
  }
}

/* As the field wants it: the person's own clock, to the minute. */
export function local(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
