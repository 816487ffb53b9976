// Keeps the board up to date by server-sent events, or by polling every three seconds when no stream is available.
// Every notification leads to the same request for the board, so a duplicate does no harm.
const board = document.querySelector("#board");
const light = document.querySelector(".live");
const POLL = 3000;
const TRY_STREAM_AGAIN = 30000;

let pending = 0;
let polling = 0;
let lost = false;

const show = (wanted) => {
  // A stream may seem open long after its connection is gone.
  const state = lost ? "lost" : wanted;
  light.textContent = light.dataset[state];
  light.dataset.state = state;
};

// The lines, voids and changes on the board: what was not there before makes a sound.
const news = () => new Set(Array.from(board.querySelectorAll("[data-news]"), (entry) => entry.dataset.news));

const look = async () => {
  clearTimeout(pending);
  try {
    const reply = await fetch(board.dataset.board, { headers: { Accept: "text/html" } });
    if (reply.redirected) {
      location.reload();
    } else if (reply.ok) {
      const before = news();
      board.innerHTML = await reply.text();
      document.body.dataset.at = board.firstElementChild.dataset.at;
      if ([...news()].some((name) => !before.has(name))) {
        ring();
      }
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

document.addEventListener("sent", (event) => {
  event.preventDefault();
  look();
});

document.addEventListener("network", (event) => {
  lost = event.detail.lost;
  show(polling ? "polling" : "live");
  if (!lost) {
    look();
  }
});

// Browsers let a page sound only after a tap.
const sound = document.querySelector(".sound");
let audio = null;

const ring = () => {
  if (audio) {
    for (const [at, pitch] of [[0, 880], [0.18, 1175]]) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0.4, audio.currentTime + at);
      volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.4);
      tone.connect(volume).connect(audio.destination);
      tone.start(audio.currentTime + at);
      tone.stop(audio.currentTime + at + 0.4);
    }
  }
};

sound.hidden = false;
sound.addEventListener("click", () => {
  if (audio) {
    audio.close();
    audio = null;
  } else {
    audio = new AudioContext();
    ring();
  }
  sound.setAttribute("aria-pressed", String(audio !== null));
});

// Minutes grow and colors change even when nothing is ordered.
setInterval(look, 30000);
listen();
