// Requests to the server of the viewer.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const session = new EventTarget();

export async function request(path, options) {
  const response = await fetch(path, options);
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const refused = new Refused(response.status, body.error ?? `HTTP ${response.status}`);
  if (response.status === 401 && path !== '/api/login') session.dispatchEvent(new Event('ended'));
  throw refused;
}

export const login = (token) =>
  request('/api/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token }),
  });

export const logout = () => request('/api/logout', { method: 'POST' });

export const PROMETHEUS = '/prometheus';

// The alerts of Prometheus, with what Alertmanager does about them.
export async function alerts(rights) {
  const fromAlertmanager = (path) => (rights.alertmanager ? request(`/alertmanager/api/v2/${path}`).catch(ignoreMissing) : []);
  const [rules, handled, silences] = await Promise.all([
    request(`${PROMETHEUS}/api/v1/rules?type=alert`),
    fromAlertmanager('alerts'),
    fromAlertmanager('silences'),
  ]);
  const comments = new Map(silences.map((silence) => [silence.id, silence.comment]));
  const silenced = new Map();
  for (const alert of handled) {
    const ids = alert.status.silencedBy;
    if (ids.length) silenced.set(key(alert.labels), ids.map((id) => comments.get(id) ?? id).join('; '));
  }
  const found = [];
  for (const group of rules.data.groups) {
    for (const rule of group.rules) {
      for (const alert of rule.alerts ?? []) {
        const comment = silenced.get(key(alert.labels));
        found.push({ ...alert, state: comment === undefined ? alert.state : 'silenced', comment });
      }
    }
  }
  const order = { critical: 0, warning: 1, info: 2 };
  const rank = (alert) => order[alert.labels.severity] ?? 3;
  return found.sort((a, b) => rank(a) - rank(b) || (a.activeAt < b.activeAt ? 1 : -1));
}

function ignoreMissing(error) {
  if (error.status === 404) return []; // there is no Alertmanager
  throw error;
}

// Alertmanager receives the labels of an alert and the external ones of Prometheus, so names that differ are left out.
function key(labels) {
  const own = Object.entries(labels).filter(([name]) => !['cluster', 'prometheus', 'prometheus_replica'].includes(name));
  return JSON.stringify(own.sort());
}

export const dashboards = () => request('/dashboards/index.json');
export const dashboard = (name) => request(`/dashboards/${encodeURIComponent(name)}.json`);
