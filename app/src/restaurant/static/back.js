// The browser's own way back keeps what was typed into the form; the link is for browsers without scripts.
const link = document.querySelector("[data-back]");

if (link && history.length > 1) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    history.back();
  });
}
