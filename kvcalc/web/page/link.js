// The state of the page as what stands behind # in its address, and back: a link to it shows the same.

kvcalc.link = (() => {
  const MOST_LETTERS = 6000; // of a text in a link, compressed: some programs cut longer addresses

  async function all(stream, most) {
    const parts = [];
    let length = 0;
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts);
      length += value.length;
      if (length > most) {
        await reader.cancel();
        throw new Error("too long");
      }
      parts.push(value);
    }
  }

  async function packed(text) {
    const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    const bytes = new Uint8Array(await (await all(stream, Infinity)).arrayBuffer());
    if (bytes.length > MOST_LETTERS) return null;
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  async function unpacked(letters, most) {
    const bytes = Uint8Array.from(atob(letters.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return (await all(stream, most)).text();
  }

  return {
    // {model, model_text, options} as an address's fragment; told: whether all of it is there.
    async of(state) {
      const words = new URLSearchParams();
      let whole = true;
      if (state.model_text) {
        const text = state.model_text.length > 40 * MOST_LETTERS ? null : await packed(state.model_text);
        whole = text !== null && text.length <= MOST_LETTERS;
        if (whole) words.set("text", text);
      } else if (state.model) {
        words.set("model", state.model);
      }
      for (const [name, value] of Object.entries(state.options)) if (value) words.set(name, value);
      return { fragment: words.toString().replaceAll("%2F", "/").replaceAll("%3A", ":"), whole };
    },
    // The state of a fragment; throws where its text cannot be read, or has more bytes than `most`.
    async read(fragment, most) {
      const words = new URLSearchParams(fragment.replace(/^#/, ""));
      const letters = words.get("text");
      const state = { model: words.get("model") ?? "", model_text: letters ? await unpacked(letters, most) : "" };
      words.delete("text");
      words.delete("model");
      return { ...state, options: Object.fromEntries(words) };
    },
  };
})();
