// Keeps the staff's pages that were seen last, so that they open without a connection, and the files they need.
// Restaurants below different paths of one host share its caches.
const PAGES = `pages ${registration.scope}`;
const FILES = `files ${registration.scope}`;
const OFFLINE = "hors-ligne";
const MOST = 40;
const PATIENCE = 4000;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(FILES).then((files) => files.add(OFFLINE)));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

const keep = async (store, request, reply, most) => {
  const cache = await caches.open(store);
  await cache.put(request, reply);
  const names = await cache.keys();
  await Promise.all(names.slice(0, Math.max(0, names.length - most)).map((name) => cache.delete(name)));
};

const file = async (request) => {
  const kept = await caches.match(request);
  if (kept) {
    return kept;
  }
  const reply = await fetch(request);
  if (reply.ok) {
    await keep(FILES, request, reply.clone(), MOST);
  }
  return reply;
};

const page = async (event) => {
  const { request } = event;
  try {
    const reply = await fetch(request, { signal: AbortSignal.timeout(PATIENCE) });
    if (reply.ok && reply.type === "basic") {
      event.waitUntil(keep(PAGES, request.url, reply.clone(), MOST));
    }
    return reply;
  } catch (error) {
    const kept = (await (await caches.open(PAGES)).match(request.url)) ?? (await caches.match(OFFLINE));
    if (kept) {
      return kept;
    }
    throw error;
  }
};

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  if (request.method === "POST" && request.mode === "navigate") {
    // Signing in and out: the next person does not see this one's pages.
    event.waitUntil(caches.delete(PAGES));
  } else if (request.method === "GET" && address.origin === location.origin) {
    if (address.searchParams.has("v")) {
      event.respondWith(file(request));
    } else if (request.mode === "navigate") {
      event.respondWith(page(event));
    }
  }
});
