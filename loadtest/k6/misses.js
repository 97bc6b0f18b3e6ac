// Misses: a bucket without a cache, so that each request is signed, sent to S3 and
// streamed back.
//
// Shows that the way to S3 keeps p95 < 500 ms at 500 requests a second, most of the
// time and CPU of which is S3's own.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, contract, objects, p95, plain, sizeOf } from './lib.js';

export const options = contract(arrivals(500, 200), p95(500));

export default function () {
  let i;
  do i = Math.floor(Math.random() * objects);
  while (sizeOf(i) > 100000);
  check(http.get(`${plain}o/${i}`), {
    whole: (r) => r.headers['Content-Length'] === String(sizeOf(i)),
    'not from a cache': (r) => r.headers['X-Cache'] === undefined,
  });
}
