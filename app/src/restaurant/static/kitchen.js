// Keeps the board up to date by server-sent events, or by polling every three seconds when no stream is available.
// Every notification leads to the same request for the board, so a duplicate does no harm.
const board = document.querySelector("#board");
const light = document.querySelector(".live");
const POLL = 3000;
const TRY_STREAM_AGAIN = 30000;

let pending = 0;
let polling = 0;

const show = (state) => {
  light.textContent = light.dataset[state];
  light.dataset.state = state;
};

const look = async () => {
  clearTimeout(pending);
  try {
    const reply = await fetch(board.dataset.board, { headers: { Accept: "text/html" } });
    if (reply.redirected) {
      location.reload();
    } else if (reply.ok) {
      board.innerHTML = await reply.text();
    }
    return reply.ok;
  } catch {
    return false;
  }
};

const soon = () => {
  clearTimeout(pending);
  pending = setTimeout(look, 150);
};

const poll = () => {
  if (!polling) {
    polling = setInterval(async () => show((await look()) ? "polling" : "lost"), POLL);
    setTimeout(listen, TRY_STREAM_AGAIN);
  }
};

const listen = () => {
  const stream = new EventSource(board.dataset.stream);
  stream.addEventListener("hello", () => show("live"));
  stream.addEventListener("change", () => {
    show("live");
    soon();
  });
  stream.addEventListener("open", () => {
    clearInterval(polling);
    polling = 0;
    show("live");
  });
  stream.addEventListener("error", () => {
    // A stream that merely ended is opened again by the browser; one that was refused is closed for good.
    if (stream.readyState === EventSource.CLOSED) {
      show("polling");
      poll();
    }
  });
};

board.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  await fetch(form.action, { method: "POST", body, redirect: "manual" });
  look();
});

// Minutes grow and colors change even when nothing is ordered.
setInterval(look, 30000);
listen();
