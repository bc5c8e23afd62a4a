// A portal in one file, with nothing but Node.js. Try it with:
//   KEYWARD_SECRET=0011…eeff node portal.js 127.0.0.1:8080
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');
const people = require('../people.json'); // a real portal has a database, and hashes of passwords in it

const COOKIE = 'portal_session';
const COOKIE_DOMAIN = 'example.test'; // the portal's host and the webmail's are both below it
const GO_ON_TO = ['webmail.example.test', 'intranet.example.test']; // where people may be sent after signing in
const LIFETIME = 8 * 3600;
const SECRET = process.env.KEYWARD_SECRET ?? '';
if (SECRET.length < 32) {
  console.error('set KEYWARD_SECRET, the same as in keyward.toml');
  process.exit(1);
}

const sessions = new Map(); // a real portal keeps them where all its processes find them
const now = () => Math.floor(Date.now() / 1000);
const digest = (text) => crypto.createHash('sha256').update(text).digest();
const same = (one, two) => crypto.timingSafeEqual(digest(one), digest(two));
const html = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function cookieOf(request) {
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1) ?? '';
}

function sessionOf(request) {
  const session = sessions.get(cookieOf(request));
  return session && session.expires > now() ? session : undefined;
}

function answer(response, status, type, body, headers = {}) {
  const length = Buffer.byteLength(body);
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': length, 'Cache-Control': 'no-store', ...headers });
  response.end(body);
}

function page(response, content, status = 200) {
  answer(response, status, 'text/html; charset=utf-8', `<!doctype html><html lang="en"><title>Portal</title>${content}`);
}

function form(response, next, said = '', status = 200) {
  page(response, `<p>${said}</p><form method="post" action="/login"><input type="hidden" name="next" value="${html(next)}">
    <label>User <input name="user" autocomplete="username"></label>
    <label>Password <input name="password" type="password" autocomplete="current-password"></label>
    <button>Sign in</button></form>`, status);
}

function goOn(response, next, headers = {}) {
  const url = URL.canParse(next) ? new URL(next) : undefined;
  const known = url?.protocol === 'https:' && GO_ON_TO.includes(url.host);
  answer(response, 303, 'text/plain', '', { Location: known ? url.href : '/', ...headers });
}

function setCookie(value, more = '') {
  return { 'Set-Cookie': `${COOKIE}=${value}; Domain=${COOKIE_DOMAIN}; Path=/; Secure; HttpOnly; SameSite=Lax${more}` };
}

async function signIn(request, response) {
  let body = '';
  for await (const chunk of request) {
    body += chunk;
    if (body.length > 10_000) return request.destroy();
  }
  const fields = new URLSearchParams(body);
  const [user, password, next] = ['user', 'password', 'next'].map((name) => fields.get(name) ?? '');
  const known = Object.hasOwn(people, user) ? people[user].password : crypto.randomUUID();
  if (!same(known, password)) return form(response, next, 'That is not right.', 403);
  for (const [cookie, session] of sessions) if (session.expires <= now()) sessions.delete(cookie);
  sessions.delete(cookieOf(request));
  const cookie = crypto.randomBytes(32).toString('base64url'); // a new one for every sign-in
  const session = { user, sid: crypto.randomUUID(), expires: now() + LIFETIME };
  if (process.env.HAND_OVER_PASSWORD === 'yes') session.password = password;
  sessions.set(cookie, session);
  goOn(response, next, setCookie(cookie));
}

function signOut(request, response) {
  sessions.delete(cookieOf(request));
  answer(response, 303, 'text/plain', '', { Location: '/login', ...setCookie('', '; Max-Age=0') });
}

// Whose session is this? For Keyward alone.
function introspect(request, response) {
  if (!same(request.headers.authorization ?? '', `Bearer ${SECRET}`)) {
    return answer(response, 403, 'text/plain', ''); // not 200: whoever guesses learns nothing of anybody
  }
  const session = sessionOf(request);
  if (!session) return answer(response, 200, 'application/json', '{"active": false}');
  const { user, sid, expires, password } = session;
  const { name, email, roles } = people[user];
  const said = { active: true, username: user, sid, exp: expires, name, email, roles, password };
  answer(response, 200, 'application/json', JSON.stringify(said)); // leaves out a password that is not there
}

const server = http.createServer((request, response) => {
  if (!URL.canParse(request.url, 'http://portal')) return page(response, 'Not here.', 404);
  const url = new URL(request.url, 'http://portal');
  const next = url.searchParams.get('next') ?? '';
  const session = sessionOf(request);
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /session': return introspect(request, response);
    case 'GET /login': return session ? goOn(response, next) : form(response, next);
    case 'POST /login': return signIn(request, response).catch(() => response.destroy()); // the browser went away
    case 'POST /logout': return signOut(request, response); // SameSite=Lax keeps other sites' forms from it
    case 'GET /': return session
      ? page(response, `Signed in as ${html(session.user)}<form method="post" action="/logout"><button>Sign out`)
      : form(response, '');
    default: return page(response, 'Not here.', 404);
  }
});
const [host, port] = process.argv[2].split(':');
server.listen(Number(port), host);
