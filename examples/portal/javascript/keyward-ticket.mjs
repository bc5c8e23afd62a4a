// Mints tickets for Keyward, which lets a portal's people into the applications behind it. Copy this file
// into the portal; it needs Node.js 16 and nothing else. It is for the server: a browser must never have the secret.
import { createCipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A new name for a session, which nobody can guess. Every sign-in gets one of its own. */
export function newSessionId() {
  return randomBytes(16).toString("hex");
}

/**
 * The ticket that the browser brings from now on, as the value of the portal's cookie.
 *
 * `secret` is the one of the portal's [[portal.key]] with the id `keyId`, as it is written there: text,
 * base64:… or hex:…. Times are Unix seconds. `password`, where the applications want one, is sealed.
 * Throws a RangeError for what Keyward would not accept.
 */
export function mintTicket({ keyId, secret, sid, sub, iat, exp, roles = [], name = "", email = "", password, ...rest }) {
  check(Object.keys(rest).length === 0, "there is no such claim: " + Object.keys(rest));
  check(/^[A-Za-z0-9_-]{1,64}$/.test(keyId), "the key id has other characters than A-Z a-z 0-9 - _");
  checkText("sid", sid);
  check(/^.{16,128}$/su.test(sid), "sid must have 16 to 128 characters");
  checkText("sub", sub);
  check(sub !== "", "sub is empty");
  checkEdges("sub", sub);
  checkText("name", name);
  checkText("email", email);
  checkEdges("email", email);
  check(Array.isArray(roles) && roles.length <= 256, "roles must be a list of at most 256");
  for (const role of roles) {
    checkText("a role", role);
    check(role !== "" && !role.includes(","), "a role is empty or holds a comma");
    checkEdges("a role", role);
  }
  check(Number.isSafeInteger(iat) && Number.isSafeInteger(exp), "iat and exp must be whole seconds");
  check(0 <= iat && iat < exp, "exp must be later than iat");

  const material = keyMaterial(secret);
  const payload = { sid, sub, iat, exp };
  // Left out where there is none: null is no value of a ticket.
  if (roles.length > 0) payload.roles = roles;
  if (name !== "") payload.name = name;
  if (email !== "") payload.email = email;
  if (password !== undefined && password !== null) payload.cred = seal(material, sid, password);
  const signed = `kw1.${keyId}.${Buffer.from(JSON.stringify(payload)).toString("base64url")}`;
  const mac = createHmac("sha256", derive(material, "keyward ticket mac v1")).update(signed).digest("base64url");
  const ticket = `${signed}.${mac}`;
  check(ticket.length <= 8192, "the ticket is longer than 8 KiB");
  return ticket;
}

/** The password, for nobody but Keyward, and for this session alone. */
function seal(material, sid, password) {
  // An empty password is an anonymous sign-in at many servers, so Keyward takes none.
  check(typeof password === "string" && password !== "" && isText(password), "the password is empty or no text");
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", derive(material, "keyward ticket seal v1"), nonce);
  cipher.setAAD(Buffer.from(sid));
  const sealed = [nonce, cipher.update(password, "utf8"), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(sealed).toString("base64url");
}

function derive(material, purpose) {
  return Buffer.from(hkdfSync("sha256", material, "", purpose, 32));
}

function keyMaterial(secret) {
  const [, encoding, text] = /^(base64|hex):\s*(.*?)\s*$/s.exec(secret) ?? [null, "utf8", secret];
  const bytes = Buffer.from(text, encoding);
  // Node.js passes over what it cannot decode; only what comes out again as it went in was right.
  const same = encoding === "hex" ? text.toLowerCase() : text;
  check(bytes.toString(encoding) === same, "the secret is not what its prefix says");
  check(bytes.length >= 32, "the secret must be at least 32 bytes long");
  return bytes;
}

function checkText(what, text) {
  check(typeof text === "string" && isText(text), `${what} is no text`);
  check(Buffer.byteLength(text) <= 512, `${what} is longer than 512 bytes`);
  check(!/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text), `${what} holds a control character`);
}

/** Half a surrogate pair stands for no character, and has no UTF-8. */
function isText(text) {
  return !/\p{Surrogate}/u.test(text);
}

function checkEdges(what, text) {
  const blank = "[ \\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]";
  check(!new RegExp(`^${blank}|${blank}$`).test(text), `${what} begins or ends with a blank`);
}

function check(fine, otherwise) {
  if (!fine) throw new RangeError(otherwise);
}

// For trying it out: each line of standard input is one ticket to make, written like the query of an address:
// key_id=2026a&secret=…&sid=…&sub=ana&iat=1767225600&exp=1767229200&role=staff&role=admin&name=…&email=…&password=…
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for await (const line of createInterface({ input: process.stdin })) {
    const fields = new URLSearchParams(line);
    const given = { sid: newSessionId(), sub: "", roles: fields.getAll("role") };
    fields.forEach((value, field) => {
      if (field === "key_id") given.keyId = value;
      else if (field === "iat" || field === "exp") given[field] = Number(value);
      else if (field !== "role") given[field] = value;
    });
    try {
      console.log(mintTicket(given));
    } catch (refusal) {
      if (!(refusal instanceof RangeError)) throw refusal;
      console.log(`refused: ${refusal.message}`);
    }
  }
}
