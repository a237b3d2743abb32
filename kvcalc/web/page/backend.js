// Asks the server that this page came from. The page on its own has another file in this place, with the same function.

globalThis.kvcalc = {
  // An answer to a question, as kvcalc/web/answer.py has them; throws where none came at all.
  async answer(request) {
    let response;
    try {
      response = await fetch("answer", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(request),
      });
    } catch {
      throw new Error("kvcalc does not answer: start it again with kvcalc web");
    }
    return response.json();
  },
};
