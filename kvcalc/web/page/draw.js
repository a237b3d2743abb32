// Elements made of what an answer holds. Every text is set as text; nothing here computes a figure.

kvcalc.draw = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value) element.setAttribute(name, value);
    element.append(...children.filter((each) => each !== null && each !== ""));
    return element;
  }

  function lines(block, tag = "p") {
    return block.lines.map((line) =>
      make(
        tag,
        {},
        ...line.spans.map((span) => make("span", { class: span.tone === "plain" ? "" : `tone-${span.tone}` }, span.text)),
        ...(line.aside ? [" ", make("span", { class: "aside" }, line.aside)] : []), // a space for who copies or hears both
      ),
    );
  }

  function cell(tag, texts, attributes) {
    const parts = texts.flatMap((text, index) => (index ? [make("br"), text] : [text]));
    return make(tag, attributes, ...parts);
  }

  // Roles are written out: a table that small screens show in another form is a table still.
  function grid(block, name) {
    const head = make("tr", { role: "row" }, ...block.columns.map((each) => make("th", { role: "columnheader", class: each.align }, each.title)));
    const rows = block.rows.map((row) =>
      make(
        "tr",
        { role: "row", class: `weight-${row.weight} depth-${Math.min(row.depth, 8)}` },
        ...row.cells.map((texts, index) =>
          cell(index ? "td" : "th", texts, {
            role: index ? "cell" : "rowheader",
            class: block.columns[index].align,
          }),
        ),
      ),
    );
    const parts = [block.header ? make("thead", { role: "rowgroup" }, head) : null, make("tbody", { role: "rowgroup" }, ...rows)];
    const table = make("table", { role: "table", "aria-label": name }, ...parts);
    return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": name }, table);
  }

  function bar(block) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 1000 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Memory of a GPU in GiB: ${block.words}`);
    for (const part of block.parts) {
      const piece = document.createElementNS(SVG, "rect");
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${part.name} ${part.figure} GiB`;
      for (const [name, value] of Object.entries({ x: part.start, y: 0, width: part.length, height: 40 }))
        piece.setAttribute(name, String(value));
      piece.setAttribute("class", `part-${part.tone}`);
      piece.append(title);
      svg.append(piece);
    }
    const legend = block.parts.map((part) =>
      make("li", { class: `part-${part.tone}` }, make("i"), `${part.name} `, make("b", {}, part.figure)),
    );
    return [svg, make("ul", { "aria-hidden": "true" }, ...legend)];
  }

  // An SVG that Python drew: parsed as XML, and taken only where it is one.
  function picture(text) {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (parsed.namespaceURI !== SVG || parsed.localName !== "svg") return [];
    for (const each of parsed.querySelectorAll("script, foreignObject, a, use, image, animate, set")) each.remove();
    return [document.importNode(parsed, true)];
  }

  function block(each, name = "Table") {
    if (each.kind === "grid") return [grid(each, `${name}: ${each.columns[0].title}`)];
    return each.kind === "lines" ? lines(each) : [];
  }

  return { make, lines, grid, bar, picture, block };
})();
