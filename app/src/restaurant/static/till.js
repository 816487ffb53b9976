// The forms of the cash desk work without this file; here they add up a count, and tell the change before it is taken.
const money = (form) =>
  new Intl.NumberFormat(form.dataset.locale === "en" ? "en-GB" : "fr-FR", { style: "currency", currency: "EUR" });

for (const form of document.querySelectorAll("form.count")) {
  const total = form.querySelector(".total");
  form.addEventListener("input", () => {
    let cents = 0;
    for (const field of form.querySelectorAll("[data-cents]")) {
      cents += Number(field.dataset.cents) * (Number.parseInt(field.value, 10) || 0);
    }
    total.textContent = money(form).format(cents / 100);
  });
}

const centsOf = (field) => {
  const number = Number((field?.value || "0").replace(/[\s€]/g, "").replace(",", "."));
  return Number.isFinite(number) ? Math.round(number * 100) : Number.NaN;
};

for (const form of document.querySelectorAll("form.pay[data-change]")) {
  const given = form.querySelector("[name=tendered]");
  const output = form.querySelector(".change");
  const update = () => {
    const cash = form.querySelector("[name=method]").value === "cash";
    given.closest(".field").hidden = !cash;
    const change = centsOf(given) - centsOf(form.querySelector("[name=amount]")) - centsOf(form.querySelector("[name=tip]"));
    output.textContent = cash && given.value && change >= 0 ? `${form.dataset.change} ${money(form).format(change / 100)}` : "";
  };
  form.addEventListener("input", update);
  update();
}
