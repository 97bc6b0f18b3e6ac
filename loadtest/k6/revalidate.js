// Revalidate: clients that have the object and ask whether it is still current.
//
// Shows that If-None-Match with the current ETag gives 304 without a body, for cached
// objects and for those of S3, and that an old ETag gives the object. p95 < 100 ms.

import http from 'k6/http';
import { check, fail } from 'k6';
import { arrivals, cached, contract, p95, pick, plain, smallNames, warm } from './lib.js';

export const options = contract(arrivals(1000, 200), p95(100));

export function setup() {
  warm(smallNames.map((name) => cached + name));
  return smallNames.map((name) => {
    const etag = http.get(cached + name).headers['Etag'];
    if (!etag) fail(`${name} has no ETag`);
    return { name, etag };
  });
}

const unchanged = (r) => r.status === 304 && r.headers['Content-Length'] === undefined;

export default function (known) {
  const { name, etag } = pick(known);
  const ask = (url, etag, status) => http.get(url, { headers: { 'If-None-Match': etag }, responseCallback: http.expectedStatuses(status) });
  const dice = Math.random();
  if (dice < 0.1) check(ask(plain + name, etag, 304), { '304 by way of S3': unchanged });
  else if (dice < 0.2) check(ask(cached + name, '"old"', 200), { 'the object for an old ETag': (r) => r.status === 200 });
  else check(ask(cached + name, etag, 304), { '304 from memory': unchanged });
}
