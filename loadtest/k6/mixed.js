// Mixed: objects of 1 KB to 1 MB, 74 MB in all, over a cache of 32 MB; their popularity
// is Zipf's.
//
// Shows hits and misses, small and large side by side, as a website has them, with
// p95 < 500 ms. The hit ratio over time is in the report.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, cached, contract, has, objects, p95, sizeOf, zipf } from './lib.js';

export const options = contract(arrivals(500, 200), p95(500));

export default function () {
  const i = zipf(objects);
  check(http.get(`${cached}o/${i}`), { whole: (r) => has(r, 200, sizeOf(i)) });
}
