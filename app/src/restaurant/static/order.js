// The menu's form works without this file; here it gains steppers and a running total.
const form = document.querySelector("form.menu");

if (form) {
  const money = new Intl.NumberFormat(form.dataset.locale === "en" ? "en-GB" : "fr-FR", {
    style: "currency",
    currency: "EUR",
  });
  const checkout = form.querySelector(".checkout");
  const total = form.querySelector(".total");

  const update = () => {
    let cents = 0;
    for (const dish of form.querySelectorAll(".dish")) {
      const input = dish.querySelector("input[type=number]");
      const quantity = Number(input?.value ?? 0);
      let price = Number(dish.dataset.price);
      for (const option of dish.querySelectorAll(".options input:checked")) {
        price += Number(option.dataset.price);
      }
      dish.classList.toggle("chosen", quantity > 0);
      cents += quantity * price;
    }
    checkout.classList.toggle("waiting", cents === 0);
    total.textContent = cents ? money.format(cents / 100) : "";
  };

  for (const stepper of form.querySelectorAll(".stepper")) {
    const input = stepper.querySelector("input");
    for (const [selector, step] of [[".less", -1], [".more", 1]]) {
      const button = stepper.querySelector(selector);
      button.hidden = false;
      button.addEventListener("click", () => {
        const value = Number(input.value) + step;
        input.value = Math.min(Number(input.max), Math.max(0, value));
        update();
      });
    }
  }

  for (const group of form.querySelectorAll(".options")) {
    group.addEventListener("change", () => {
      const checked = group.querySelectorAll("input[type=checkbox]:checked").length;
      for (const box of group.querySelectorAll("input[type=checkbox]:not(:checked)")) {
        box.disabled = checked >= Number(group.dataset.maximum);
      }
    });
  }

  form.addEventListener("input", update);
  update();
}
