// Keeps the page's files, so that it works without a network after the first visit. VERSION and FILES stand above.

const PREFIX = `kvcalc ${registration.scope} `;
const NAME = PREFIX + VERSION;

oninstall = (event) => {
  const files = FILES.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(files)));
};

onactivate = (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
      }
      await clients.claim();
    })(),
  );
};

onfetch = (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(NAME);
      return (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
    })(),
  );
};
