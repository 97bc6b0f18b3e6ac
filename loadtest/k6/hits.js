// Hits: small objects from the gateway's memory, 10,000 requests a second.
//
// Shows that a cached object is answered from memory alone, every time, and with
// p95 < 100 ms at the rate that arrives. Where k6 cannot make the rate, it drops
// iterations, which the table of the runner shows; lower it with RATE then.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, cached, contract, p95, smallNames, warm, zipf } from './lib.js';

export const options = contract(arrivals(10000, 200), p95(100));

const urls = smallNames.map((name) => cached + name);

export function setup() {
  warm(urls);
}

const checks = { 'answered from memory': (r) => r.headers['X-Cache'] === 'HIT' };

export default function () {
  check(http.get(urls[zipf(urls.length)]), checks);
}
