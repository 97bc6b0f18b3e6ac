// Reload: hits and misses while the runner changes the configuration each second and
// sends SIGHUP.
//
// Shows that a reload is invisible to clients: no request fails, p95 < 500 ms, and the
// runner sees every reload succeed.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, cached, contract, has, p95, plain, pick, warm } from './lib.js';

export const options = contract(arrivals(500, 200), p95(500));

export function setup() {
  warm([`${cached}1k`, `${cached}10k`, `${cached}100k`]);
}

const sizes = { '1k': 1000, '10k': 10000, '100k': 100000 };

export default function () {
  const name = pick(['1k', '10k', '100k']);
  check(http.get((Math.random() < 0.8 ? cached : plain) + name), { whole: (r) => has(r, 200, sizes[name]) });
}
