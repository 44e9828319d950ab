// The frame of the page: which view is shown, who looks, and how the server is.

import { Problem, ask, isSignedIn, onUnauthorized, signIn, signOut } from './client.js';
import { el, replace } from './dom.js';
import * as overview from './overview.js';
import * as policies from './policies.js';
import * as decisions from './decisions.js';
import * as explain from './explain.js';
import * as topology from './topology.js';

const VIEWS = {
  overview: { title: 'Overview', show: overview.show },
  workloads: { title: 'Workloads', show: policies.showWorkloads },
  policies: { title: 'Policies', show: policies.showPolicies },
  decisions: { title: 'Live decisions', show: decisions.show },
  explain: { title: 'Explain', show: explain.show },
  topology: { title: 'Topology', show: topology.show },
};
const EVERY = 2000;

const main = document.getElementById('main');
const server = document.getElementById('server');
const signOutButton = document.getElementById('sign-out');

let shown = null;
let wasAskedFor = null;
let isRefused = false;

// Views

const route = () => {
  const [name, ...rest] = location.hash.slice(1).split('/');
  const argument = rest.length ? decodeURIComponent(rest.join('/')) : null;
  return Object.hasOwn(VIEWS, name) ? { name, argument } : { name: 'overview', argument: null };
};

const show = (byHand) => {
  if (isRefused) return showSignIn();
  const { name, argument } = route();
  shown?.abort();
  shown = new AbortController();
  for (const link of document.querySelectorAll('#views a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${VIEWS[name].title} – Postern console`;
  replace(main);
  VIEWS[name].show(main, { argument, signal: shown.signal });
  if (byHand) {
    main.querySelector('h1')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
};

addEventListener('hashchange', () => {
  if (location.hash === '#main') return;
  show(true);
});

// A link to #main would be a view.
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});

// Who looks

const showSignIn = (problem) => {
  shown?.abort();
  const token = el('input', { type: 'password', name: 'token', autocomplete: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'token-hint' });
  const said = el('p', { role: 'alert', class: 'notice bad', hidden: true });
  const form = el(
    'form',
    {
      class: 'card sign-in',
      onsubmit: async (event) => {
        event.preventDefault();
        signIn(token.value.trim().replace(/^bearer /i, ''));
        token.value = '';
        isRefused = false;
        try {
          await ask('overview');
        } catch (error) {
          if (error.status !== 401) replace(said, error.message).hidden = false;
          return;
        }
        signOutButton.hidden = false;
        show(true);
        tick();
      },
    },
    el('h1', { tabindex: '-1' }, 'Sign in'),
    el('p', { class: 'hint', id: 'token-hint' }, 'A token of those who may use the management API. It stays in this page’s memory and is gone when the page is.'),
    said,
    el('label', {}, 'Token', token),
    el('div', {}, el('button', {}, 'Sign in')),
  );
  if (wasAskedFor || isSignedIn()) replace(said, problem?.message ?? 'The token is not good here.').hidden = false;
  signOut();
  wasAskedFor = true;
  signOutButton.hidden = true;
  document.title = 'Sign in – Postern console';
  replace(main, form);
  token.focus();
};

onUnauthorized((problem) => {
  const isNew = !isRefused;
  isRefused = true;
  status('Not signed in', false);
  if (isNew) showSignIn(isSignedIn() ? problem : undefined);
});

signOutButton.addEventListener('click', () => {
  signOut();
  wasAskedFor = null;
  isRefused = true;
  overview.forget();
  decisions.forget();
  explain.forget();
  showSignIn();
});

// How the server is

const status = (text, isBad) => {
  if (server.textContent !== text) server.textContent = text;
  server.classList.toggle('bad', isBad);
};

let timer;
const tick = async () => {
  clearTimeout(timer);
  if (!isRefused && !document.hidden) {
    try {
      const seen = await ask('overview');
      overview.learn(seen);
      const { ready, waitingFor } = seen.readiness;
      status(ready ? `Ready, revision ${seen.snapshot.revision}` : `Not ready: ${waitingFor}`, !ready);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status !== 401) {
        overview.lose(error);
        status(error.status ? error.message : 'The server does not answer', true);
      }
    }
  }
  timer = setTimeout(tick, EVERY);
};
document.addEventListener('visibilitychange', () => document.hidden || tick());

// How it looks

const THEMES = ['system', 'light', 'dark'];
const themeButton = document.getElementById('theme');
const stored = () => {
  try {
    return localStorage.getItem('postern-theme');
  } catch {
    return null;
  }
};
const paint = (theme) => {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = `Theme: ${theme}`;
};
let theme = THEMES.includes(stored()) ? stored() : 'system';
paint(theme);
themeButton.addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  paint(theme);
  try {
    localStorage.setItem('postern-theme', theme);
  } catch {
    // Where nothing may be stored, it lasts as long as the page.
  }
});

show(false);
tick();
