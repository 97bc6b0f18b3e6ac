// JWT: a private bucket, with a token on every request.
//
// Shows that tokens are verified at p95 < 100 ms, and that nobody gets in without: one
// request in ten has a token with a wrong signature, which must give 403, and one in
// ten has none, 401, though the object is in memory.

import http from 'k6/http';
import { check, fail } from 'k6';
import { arrivals, contract, p95, pick, secret, smallNames, token, warm } from './lib.js';

export const options = contract(arrivals(2000, 200), p95(100));

// forged is the token with another first character of its signature.
const at = token.lastIndexOf('.') + 1;
const forged = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);

const bearer = (t, status) => ({ headers: { Authorization: `Bearer ${t}` }, responseCallback: http.expectedStatuses(status) });
const right = bearer(token, 200);
const wrong = bearer(forged, 403);
const none = { responseCallback: http.expectedStatuses(401) };
const urls = smallNames.map((name) => secret + name);

export function setup() {
  if (token === '') fail('TOKEN is not set');
  warm(urls, right);
}

export default function () {
  const url = pick(urls);
  const dice = Math.random();
  if (dice < 0.1) check(http.get(url, wrong), { 'a wrong token is refused with 403': (r) => r.status === 403 });
  else if (dice < 0.2) check(http.get(url, none), { 'no token is refused with 401': (r) => r.status === 401 });
  else check(http.get(url, right), { 'a right token lets in': (r) => r.status === 200 });
}
