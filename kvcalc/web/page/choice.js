// A field that offers values while one types in it: the combobox of the ARIA Authoring Practices, with a list below.
// kvcalc.choice(input, find, chosen): `find(word)` promises {found: [{name, about}], told}; `chosen()` follows a choice.

kvcalc.choice = (input, find, chosen) => {
  const list = document.createElement("ul");
  const told = document.createElement("span");
  let rows = [];
  let active = -1;
  let asked = 0;

  list.id = `${input.id}-list`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", input.labels[0]?.textContent ?? input.id);
  list.hidden = true;
  told.className = "unseen";
  told.setAttribute("role", "status");
  input.after(list, told);
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
    autocomplete: "off",
    autocapitalize: "none",
  })) input.setAttribute(name, value);

  function close() {
    asked += 1; // whatever is still on its way comes too late
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  }

  function mark(index) {
    active = index;
    rows.forEach((row, each) => row.setAttribute("aria-selected", String(each === index)));
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", rows[index].id);
      rows[index].scrollIntoView({ block: "nearest" });
    }
  }

  function choose(row) {
    input.value = row.dataset.name;
    close();
    chosen();
  }

  async function open(word) {
    const mine = ++asked;
    let answer;
    try {
      answer = await find(word);
    } catch {
      return; // the scenario's own answer says that nobody answers
    }
    if (mine !== asked || document.activeElement !== input || !answer.found) return;
    rows = answer.found.map(({ name, about }, index) => {
      const row = document.createElement("li");
      const shown = document.createElement("span");
      const what = document.createElement("small");
      row.id = `${list.id}-${index}`;
      row.dataset.name = name;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", "false");
      shown.textContent = name;
      what.textContent = about ?? "";
      row.append(shown, " ", what);
      row.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
      row.addEventListener("click", () => choose(row));
      return row;
    });
    list.replaceChildren(...rows);
    told.textContent = answer.told ?? "";
    list.hidden = rows.length === 0;
    input.setAttribute("aria-expanded", String(rows.length > 0));
    mark(-1);
  }

  input.addEventListener("input", () => open(input.value));
  input.addEventListener("click", () => list.hidden && open(input.value && ""));
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) await open("");
      if (rows.length === 0 || list.hidden) return;
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark(active < 0 && step < 0 ? rows.length - 1 : (active + step + rows.length) % rows.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!list.hidden && active >= 0) choose(rows[active]);
      else {
        close();
        chosen();
      }
    }
  });
};
