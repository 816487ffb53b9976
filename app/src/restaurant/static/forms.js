// Sends forms without leaving the page, so that what was typed stays when it is refused, and keeps what is tapped
// without a connection, to send it once when the connection is back: every form with a key may be sent again with the
// same key, and the service does it once. Forms work without this file.
const PULSE = 2000;
const PATIENCE = 2500;
const LONGEST = 20000;
// What a guest's telephone kept for longer is not sent: the guest has asked somebody meanwhile.
const GUESTS_WAIT = 3600000;

const body = document.body;
const banner = document.querySelector("#network");
const words = banner.dataset;
const person = body.dataset.person ?? "";
// Restaurants below different paths of one host share its storage.
const STORE = `outbox:${new URL(".", new URL(words.pulse, location.href)).pathname}:`;
let lost = false;
let flushing = null;
let typed = false;

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const waiting = () =>
  Object.keys(localStorage)
    .filter((name) => name.startsWith(STORE))
    .sort()
    .map((name) => ({ name, ...JSON.parse(localStorage.getItem(name)) }))
    .filter((entry) => entry.person === person && (person || Date.now() - Number.parseInt(entry.name.slice(STORE.length), 10) < GUESTS_WAIT));

const show = () => {
  const entries = waiting();
  const items = entries.map((entry) => {
    const item = document.createElement("li");
    item.textContent = entry.refused ? `${entry.label}: ${entry.refused} ` : entry.label;
    if (entry.refused) {
      const done = document.createElement("button");
      done.type = "button";
      done.className = "link";
      done.textContent = words.dismiss;
      done.addEventListener("click", () => {
        localStorage.removeItem(entry.name);
        show();
      });
      item.append(done);
    }
    return item;
  });
  const kept = entries.filter((entry) => !entry.refused).length;
  banner.querySelector("p").textContent = [lost ? words.lost.replace("{time}", body.dataset.at) : "", kept ? words.kept : ""].join(" ");
  banner.querySelector("ul").replaceChildren(...items);
  banner.hidden = !lost && !entries.length;
  banner.classList.toggle("lost", lost);
};

const connected = (now) => {
  if (lost === now) {
    lost = !now;
    show();
    document.dispatchEvent(new CustomEvent("network", { detail: { lost } }));
    if (!lost) {
      flush();
    }
  }
};

// The outcome of one request: done with where to go, refused with why, or unknown, so that it has to be sent again.
const send = async (action, content) => {
  try {
    const reply = await fetch(action, {
      method: "POST",
      body: new URLSearchParams(content),
      headers: { Accept: "application/problem+json" },
      signal: AbortSignal.timeout(LONGEST),
    });
    if (reply.status === 200) {
      // The reply is itself the page to show, such as a new person's password.
      return { page: await reply.text() };
    }
    if (reply.ok) {
      return { done: reply.headers.get("Location") ?? location.href };
    }
    if ([401, 502, 503, 504].includes(reply.status)) {
      return { unknown: reply.status === 401 ? words.away : words.failed };
    }
    const problem = await reply.json();
    return { refused: [problem.detail, ...(problem.errors ?? []).map((entry) => entry.detail)].join(" ") };
  } catch {
    connected(false);
    return { unknown: words.failed };
  }
};

// One after the other in the order of the taps; each caller that waits gets the outcome of its own.
const flush = (mine) => {
  const previous = flushing ?? Promise.resolve();
  flushing = previous.then(async () => {
    let sent = false;
    let outcome = { unknown: "" };
    for (const entry of waiting().filter((each) => !each.refused)) {
      const found = await send(entry.action, entry.content);
      if (found.unknown) {
        break;
      }
      if (found.refused && entry.name !== mine) {
        const { name, ...rest } = entry;
        localStorage.setItem(name, JSON.stringify({ ...rest, refused: found.refused }));
      } else {
        localStorage.removeItem(entry.name);
      }
      if (entry.name === mine) {
        outcome = found;
      } else {
        sent = true;
      }
    }
    show();
    if (sent && !mine) {
      arrived(typed ? null : location.href);
    }
    return outcome;
  });
  return flushing;
};

const arrived = (target) => {
  if (!document.dispatchEvent(new CustomEvent("sent", { cancelable: true })) || !target) {
    return;
  }
  const next = new URL(target, location.href);
  if (next.pathname === location.pathname && next.search === location.search) {
    history.replaceState(null, "", next);
    location.reload();
  } else {
    location.assign(next);
  }
};

const refuse = (form, text) => {
  form.querySelector(":scope > .alert")?.remove();
  const alert = document.createElement("p");
  alert.className = "alert";
  alert.setAttribute("role", "alert");
  alert.textContent = text;
  (form.querySelector(".checkout") ?? form.lastElementChild).before(alert);
  alert.scrollIntoView({ block: "nearest" });
};

document.addEventListener("input", () => {
  typed = true;
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || "direct" in form.dataset) {
    return;
  }
  event.preventDefault();
  if (form.getAttribute("aria-busy") === "true") {
    return;
  }
  form.setAttribute("aria-busy", "true");
  const fields = new FormData(form, event.submitter);
  const action = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.getAttribute("action") || location.href;
  // A password is never kept.
  const keeps = fields.has("key") && !form.querySelector("[type=password]");
  let outcome;
  if (keeps) {
    fields.set("key", newKey());
    const name = `${STORE}${String(Date.now()).padStart(15, "0")}-${newKey()}`;
    const label = form.dataset.label || event.submitter?.textContent.trim().replace(/\s+/g, " ") || "";
    const content = [...fields].map(([field, value]) => [field, String(value)]);
    localStorage.setItem(name, JSON.stringify({ action, content, label, person }));
    outcome = await flush(name);
  } else {
    outcome = await send(action, [...fields]);
  }
  form.setAttribute("aria-busy", "false");
  if (outcome.page) {
    document.open();
    document.write(outcome.page);
    document.close();
  } else if (outcome.done) {
    typed = false;
    arrived(outcome.done);
  } else if (outcome.refused) {
    refuse(form, outcome.refused);
  } else if (keeps) {
    if (!form.querySelector("input:not([type=hidden]), select")) {
      event.submitter?.classList.add("kept");
    }
    form.reset();
    form.dispatchEvent(new Event("input"));
    typed = false;
    show();
  } else {
    refuse(form, outcome.unknown);
  }
});

if (person || body.querySelector("[data-follow]")) {
  const pulse = async () => {
    try {
      const reply = await fetch(words.pulse, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      connected(reply.ok);
    } catch {
      connected(false);
    }
    setTimeout(pulse, PULSE);
  };
  pulse();
  addEventListener("offline", () => connected(false));
}
if (person) {
  show();
  flush();
  navigator.serviceWorker?.register(words.worker).catch(() => {});
}
