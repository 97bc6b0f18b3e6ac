// Large: downloads of 100 MB from S3, eight at once, all the time.
//
// Shows that bodies are streamed: the gateway's memory in the report does not depend on
// the size of what passes through. Each body must arrive whole, its first byte
// with p95 < 500 ms.

import http from 'k6/http';
import { check } from 'k6';
import { contract, duration, has, large, plain, rate } from './lib.js';

export const options = contract(
  { executor: 'constant-vus', vus: rate(8), duration, gracefulStop: '60s' },
  { 'http_req_waiting{scenario:main}': ['p(95)<500'] },
);

export default function () {
  check(http.get(plain + large.name, { timeout: '60s' }), { whole: (r) => has(r, 200, large.size) && r.error_code === 0 });
}
