/* Calls of the REST API as the logged-in person; a refusal is an Error that says what would help. */

export class Refusal extends Error {
  constructor(problem, status) {
    super(problem.detail || "The server refused this.");
    this.problem = problem;
    this.status = status;
    this.code = problem.code || "";
    this.remedy = problem.remedy?.text || "";
    if (this.isStale) {
      // The API's words are for programs; the page reads the newest by itself.
      this.message = "Somebody changed this a moment ago.";
      this.remedy = "Nothing of yours was done. What is shown now is the newest: look, and do it again if it is still right.";
    }
  }

  /* It was meant for what the ticket was before. */
  get isStale() {
    return this.status === 412;
  }

  /* Field → message, for a form. */
  get fields() {
    return Object.fromEntries((this.problem.errors || []).map((e) => [e.path, e.message]));
  }
}

const meta = document.querySelector("meta[name=csrf-token]");
const token = () => meta.content;

/* A login in another window made this page's token old; no script can read the cookie. */
async function renewToken() {
  const page = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  const text = page.ok ? await page.text() : "";
  const found = new DOMParser().parseFromString(text, "text/html").querySelector("meta[name=csrf-token]");
  if (!found || found.content === meta.content) return false;
  meta.content = found.content;
  return true;
}

export async function call(method, path, body, options = {}) {
  try {
    return await callOnce(method, path, body, options);
  } catch (refusal) {
    if (refusal.code !== "csrf_failed" || !(await renewToken())) throw refusal;
    return callOnce(method, path, body, options);
  }
}

async function callOnce(method, path, body, { version, key }) {
  const headers = { Accept: "application/json", "X-CSRFToken": token() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"v${version}"`;
  if (key) headers["Idempotency-Key"] = key;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refusal({ detail: "The server cannot be reached.", remedy: { text: "Nothing was changed. Try again when the board is live." } }, 0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) refuse(answer, response.status);
  return answer;
}

function refuse(answer, status) {
  if (status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  throw new Refusal(answer || {}, status);
}

/* fetch() cannot tell how far an upload is; XMLHttpRequest can. */
export async function upload(file, onProgress) {
  try {
    return await uploadOnce(file, onProgress);
  } catch (refusal) {
    if (refusal.code !== "csrf_failed" || !(await renewToken())) throw refusal;
    return uploadOnce(file, onProgress);
  }
}

function uploadOnce(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/v1/files");
    request.setRequestHeader("X-CSRFToken", token());
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new Refusal({ detail: "The upload broke off." }, 0)));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Refusal(request.response || { detail: `The upload was refused (${request.status}).` }, request.status));
    });
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}
