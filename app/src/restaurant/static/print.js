// A button that prints, where there are scripts; the browser's own menu does where there are none.
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
