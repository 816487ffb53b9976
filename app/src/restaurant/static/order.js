// The menu's form works without this file; here it gains steppers, a running total, portions that differ, and a search.
const form = document.querySelector("form.menu");

if (form) {
  const money = new Intl.NumberFormat(form.dataset.locale === "en" ? "en-GB" : "fr-FR", {
    style: "currency",
    currency: "EUR",
  });
  form.classList.add("scripted");
  const checkout = form.querySelector(".checkout");
  const total = form.querySelector(".total");
  const cart = form.querySelector(".cart");
  const rows = () => form.querySelectorAll("[data-price][data-place]");
  const quantityOf = (row) => row.querySelector("[name^=quantity-]");

  const update = () => {
    let cents = 0;
    let portions = 0;
    const chosen = [];
    for (const row of rows()) {
      const quantity = Number(quantityOf(row)?.value ?? 0);
      let price = Number(row.dataset.price);
      for (const option of row.querySelectorAll(".options input:checked, .choices input:checked")) {
        // The options of a dish that was not chosen do not count.
        const choice = option.closest(".choice");
        if (!choice || choice.querySelector("[name^=choice-]").checked) {
          price += Number(option.dataset.price);
        }
      }
      for (const choice of row.querySelectorAll("[name^=choice-]")) {
        choice.required = quantity > 0;
      }
      row.classList.toggle("chosen", quantity > 0);
      const another = row.querySelector(".another");
      if (another) {
        another.hidden = quantity === 0;
      }
      if (quantity > 0) {
        chosen.push(`${row.classList.contains("danger") ? "⚠ " : ""}${quantity} × ${row.querySelector("h3, summary")?.firstChild.textContent.trim()}`);
      }
      portions += quantity;
      cents += quantity * price;
    }
    checkout.classList.toggle("waiting", chosen.length === 0);
    if (cart) {
      cart.hidden = chosen.length === 0;
      cart.querySelector(".count").textContent = portions ? `(${portions})` : "";
      cart.querySelector("ul").replaceChildren(...chosen.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    }
    total.textContent = cents ? money.format(cents / 100) : "";
    form.dataset.label = chosen.join(", ");
  };

  const change = (row, step) => {
    const input = quantityOf(row);
    input.value = Math.min(Number(input.max), Math.max(0, Number(input.value) + step));
    update();
  };

  // Another portion of a dish, with options and a note of its own.
  const copy = (row) => {
    const place = `${row.dataset.place}.${rows().length}`;
    const twin = row.cloneNode(true);
    for (const field of twin.querySelectorAll("[name]")) {
      field.name = field.name.replace(`-${row.dataset.place}`, `-${place}`);
    }
    twin.dataset.place = place;
    quantityOf(twin).value = 1;
    for (const note of twin.querySelectorAll("[name^=note-]")) {
      note.value = "";
    }
    row.after(twin);
    row.querySelector("details.more").open = false;
    update();
    return twin;
  };

  for (const button of form.querySelectorAll(".stepper button")) {
    button.hidden = false;
  }
  form.addEventListener("click", (event) => {
    const row = event.target.closest("[data-place]");
    if (event.target.closest(".less")) {
      change(row, -1);
    } else if (event.target.closest(".more-one")) {
      change(row, 1);
    } else if (event.target.closest(".another")) {
      copy(row).querySelector("[name^=note-]").focus();
    }
  });

  // A tap on a dish opens its note and takes one of it; so does the choice of an option.
  form.addEventListener(
    "toggle",
    (event) => {
      const row = event.target.closest("[data-place]");
      if (row && event.target.open && quantityOf(row).value === "0") {
        change(row, 1);
        row.querySelector("[name^=choice-], [name^=note-]").focus({ preventScroll: true });
      }
    },
    true,
  );
  form.addEventListener("change", (event) => {
    const group = event.target.closest(".options, .choices");
    if (!group) {
      return;
    }
    const row = group.closest("[data-place]");
    if (event.target.checked && quantityOf(row).value === "0") {
      change(row, 1);
    }
    const checked = group.querySelectorAll("input[type=checkbox]:checked").length;
    for (const box of group.querySelectorAll("input[type=checkbox]:not(:checked)")) {
      box.disabled = checked >= Number(group.dataset.maximum);
    }
  });
  form.addEventListener("click", (event) => {
    // A radio button that is chosen already sends no event when it is tapped.
    if (event.target.matches(".options input[type=radio], .choices input[type=radio]")) {
      const row = event.target.closest("[data-place]");
      if (quantityOf(row).value === "0") {
        change(row, 1);
      }
    }
  });

  for (const link of form.querySelectorAll(".jump a")) {
    link.addEventListener("click", () => {
      document.querySelector(link.hash).parentElement.open = true;
    });
  }

  const search = form.querySelector("[type=search]");
  if (search) {
    const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replace("œ", "oe").toLowerCase();
    const parts = form.querySelectorAll("details.picks");
    search.hidden = false;
    search.addEventListener("input", () => {
      const wanted = plain(search.value.trim());
      for (const part of parts) {
        part.name = wanted ? "" : "picks";
        let found = 0;
        for (const row of part.querySelectorAll("[data-words]")) {
          const fits = plain(row.dataset.words).includes(wanted) && !(wanted && row.dataset.place.includes(".f"));
          row.hidden = !fits;
          found += fits;
        }
        part.hidden = !found;
        part.open = wanted ? found > 0 : part === parts[0];
      }
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
      }
    });
  }

  // Dishes with what the guest cannot eat are marked.
  const avoided = form.querySelectorAll(".allergies input");
  const warn = () => {
    const names = Array.from(avoided).filter((box) => box.checked).map((box) => box.value);
    for (const row of form.querySelectorAll("[data-allergens]")) {
      row.classList.toggle("danger", row.dataset.allergens.split(" ").some((name) => names.includes(name)));
    }
  };
  form.addEventListener("input", () => {
    warn();
    update();
  });
  warn();
  update();
}
