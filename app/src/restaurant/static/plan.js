// Drag tables on the plan, or move them with the arrow keys. A drop is saved with the version that was read, so two
// people who arrange the same table hear of each other.
const STEP = 10;

const snap = (value) => Math.min(5000, Math.max(0, Math.round(value / STEP) * STEP));

const place = (table, x, y) => {
  table.dataset.x = x;
  table.dataset.y = y;
  table.setAttribute("transform", `translate(${x} ${y})`);
};

const save = async (table) => {
  const reply = await fetch(table.dataset.address, {
    method: "PATCH",
    headers: { "Content-Type": "application/json", "If-Match": `"${table.dataset.version}"` },
    body: JSON.stringify({ x: Number(table.dataset.x), y: Number(table.dataset.y) }),
  });
  if (reply.ok) {
    const { version } = await reply.json();
    table.dataset.version = version;
    for (const field of document.querySelectorAll(`[data-version-of="${table.dataset.table}"]`)) {
      field.value = version;
    }
  } else {
    location.reload();
  }
};

for (const plan of document.querySelectorAll(".plan.editing")) {
  const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(plan.getScreenCTM().inverse());

  for (const table of plan.querySelectorAll(".table")) {
    let grip = null;
    table.addEventListener("pointerdown", (event) => {
      const point = at(event);
      grip = { x: point.x - Number(table.dataset.x), y: point.y - Number(table.dataset.y) };
      table.setPointerCapture(event.pointerId);
    });
    table.addEventListener("pointermove", (event) => {
      if (grip) {
        const point = at(event);
        place(table, snap(point.x - grip.x), snap(point.y - grip.y));
      }
    });
    table.addEventListener("pointerup", () => {
      if (grip) {
        grip = null;
        save(table);
      }
    });
    table.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) {
        event.preventDefault();
        place(table, snap(Number(table.dataset.x) + step[0] * STEP), snap(Number(table.dataset.y) + step[1] * STEP));
        save(table);
      }
    });
  }
}
