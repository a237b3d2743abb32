// The picture of memory against context, and its values one context at a time: by pointer, or with the arrow keys.

kvcalc.curve = (() => {
  const at = (id) => document.getElementById(id);
  let contexts = []; // the points of each, from the left

  // An answer to "curve": its picture, with the values of the context that it is about.
  function show({ svg, context }) {
    at("curve").hidden = !svg;
    if (!svg) return;
    at("picture").replaceChildren(...kvcalc.draw.picture(svg));
    const points = [...at("picture").querySelectorAll("path.point")];
    const lengths = [...new Set(points.map((each) => Number(each.dataset.x)))].sort((one, other) => one - other);
    contexts = lengths.map((length) => points.filter((each) => Number(each.dataset.x) === length));
    at("along").max = contexts.length - 1;
    tell(lengths.indexOf(context));
  }

  function tell(index) {
    const points = contexts[Math.max(index, 0)];
    if (!points) return;
    for (const each of contexts.flat()) each.classList.toggle("near", points.includes(each));
    const values = points.map((each) => `${each.dataset.series} ${each.dataset.yText}`);
    const told = `${points[0].dataset.xText}: ${values.join(", ")}`;
    at("along").value = Math.max(index, 0);
    at("along").setAttribute("aria-valuetext", told); // which is what a screen reader says
    at("value").textContent = told;
  }

  function point(event) {
    const away = contexts.map(([each]) => {
      const box = each.getBoundingClientRect();
      return Math.abs(event.clientX - (box.left + box.right) / 2);
    });
    tell(away.indexOf(Math.min(...away)));
  }

  at("picture").addEventListener("pointermove", point);
  at("picture").addEventListener("pointerdown", point);
  at("along").addEventListener("input", () => tell(Number(at("along").value)));
  return { show };
})();
