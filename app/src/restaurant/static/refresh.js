// Looks again every five seconds at the part of the page that changes, while the page is seen.
const live = document.querySelector("#live");

setInterval(async () => {
  if (document.hidden || live.contains(document.activeElement)) {
    return;
  }
  try {
    const reply = await fetch(location.href);
    if (reply.ok && !reply.redirected) {
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      live.replaceChildren(...page.querySelector("#live").childNodes);
      document.body.dataset.at = page.body.dataset.at;
    }
  } catch {
    // The next look comes soon.
  }
}, 5000);
