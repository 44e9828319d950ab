// Asks the server. The token of who looks is in this variable and nowhere else: it goes with the page.

let token = null;
const signedOut = new EventTarget();

/** What went wrong: `status` is 0 where the server does not answer. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const signIn = (text) => {
  token = text;
};
export const signOut = () => {
  token = null;
};
export const isSignedIn = () => token !== null;
/** Calls `act` when a token is needed, or is no longer good. */
export const onUnauthorized = (act) => signedOut.addEventListener('unauthorized', (event) => act(event.detail));

const answered = async (path, { body, signal } = {}) => {
  const headers = {};
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(`api/${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: 'no-store',
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      redirect: 'error',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'The server does not answer.');
  }
  if (response.ok) return response;
  const problem = new Problem(response.status, await said(response));
  if (response.status === 401) {
    signedOut.dispatchEvent(new CustomEvent('unauthorized', { detail: problem }));
  }
  throw problem;
};

const said = async (response) => {
  const text = await response.text().catch(() => '');
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text.trim() || `The server says ${response.status}.`;
  }
};

/** The answer to a question, in JSON. */
export const ask = async (path, options) => (await answered(path, options)).json();

/** Events as they come: `act(name, data)`. Returns when they end. Not an EventSource, which sends no token. */
export const follow = async (path, act, signal) => {
  const response = await answered(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Problem(0, 'The connection was lost.');
    }
    if (piece.done) return;
    rest += piece.value;
    const events = rest.split('\n\n');
    rest = events.pop();
    for (const event of events) {
      let name = 'message';
      const data = [];
      for (const line of event.split('\n')) {
        if (line.startsWith('event: ')) name = line.slice(7);
        else if (line.startsWith('data: ')) data.push(line.slice(6));
      }
      if (data.length) act(name, data.join('\n'));
      else act('alive', '');
    }
  }
};

/** A query of what is there. */
export const query = (pairs) => {
  const entries = Object.entries(pairs).filter(([, value]) => value !== '' && value !== undefined && value !== null);
  return entries.length ? `?${new URLSearchParams(entries)}` : '';
};
