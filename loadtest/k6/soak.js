// Soak: everything at a modest rate for a long time: hits, misses, parts, tokens,
// conditions, objects that do not exist.
//
// Shows whether memory, descriptors or goroutines grow: the runner fits a line to the
// resident set after the first fifth and compares the first sample with the last.
// p95 < 500 ms.

import http from 'k6/http';
import { check, fail } from 'k6';
import { arrivals, cached, contract, has, large, line, objects, p95, plain, secret, sizeOf, token, zipf } from './lib.js';

export const options = contract(arrivals(200, 200), p95(500));

const withToken = { headers: { Authorization: `Bearer ${token}` } };
const expect = (status) => ({ responseCallback: http.expectedStatuses(status) });

export function setup() {
  if (token === '') fail('TOKEN is not set');
  const r = http.get(`${cached}1k`);
  return r.headers['Etag'];
}

export default function (etag) {
  const i = zipf(objects);
  const name = `o/${i}`;
  const dice = Math.random();
  if (dice < 0.6) check(http.get(cached + name), { 'hits and misses': (r) => has(r, 200, sizeOf(i)) });
  else if (dice < 0.7) check(http.get(plain + name), { 'not cached': (r) => has(r, 200, sizeOf(i)) });
  else if (dice < 0.8) check(http.get(secret + name, withToken), { 'with a token': (r) => has(r, 200, sizeOf(i)) });
  else if (dice < 0.85) check(http.get(secret + name, expect(401)), { 'without a token': (r) => r.status === 401 });
  else if (dice < 0.9) check(http.get(`${cached}1k`, Object.assign({ headers: { 'If-None-Match': etag } }, expect(304))), { 'not modified': (r) => r.status === 304 });
  else if (dice < 0.95) {
    const first = 65536 * Math.floor(Math.random() * 1500);
    const r = http.get(plain + large.name, { headers: { Range: `bytes=${first}-${first + 65535}` }, responseType: 'text' });
    check(r, { 'a part': (r) => has(r, 206, 65536) && r.body.startsWith(line(0, first)) });
  } else check(http.get(`${cached}missing/${i}`, expect(404)), { 'no such object': (r) => r.status === 404 });
}
